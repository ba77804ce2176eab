from types import SimpleNamespace

import pytest

from emotion_ray.data.archives import Archive
from emotion_ray.data.plan import Plan
from emotion_ray.data.ravdess import TAKES_AN_ARCHIVE
from emotion_ray.data.takes import Choice
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import EvaluateSettings, PrepareSettings, ReproduceSettings, TrainRunSettings, TuneSettings
from emotion_ray.walkthrough import estimate as module
from emotion_ray.walkthrough.estimate import Speed, estimate, measure_speeds, planned_trainings, takes_of
from emotion_ray.walkthrough.stages import duration

MB = 10**6


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (6000, "1 h 40 min"), (36_000, "10 h 0 min")],
)
def test_durations(seconds, told):
    assert duration(seconds) == told


def test_what_follows_for_each_stage():
    settings = ReproduceSettings(root="r", actors="1-3, 7", epochs=5, trials=2, seeds=3, frames=8, detector="exact")
    run = "reproduce-1-3_7"
    assert settings.prepare == PrepareSettings(root="r", actors="1-3, 7", frames=8, detector="exact")
    assert settings.train == TrainRunSettings(root="r", run=f"{run}-baseline", model="both", epochs=5)
    assert settings.tune == TuneSettings(root="r", run=f"{run}-tuned", model="both", epochs=5, trials=2)
    assert settings.evaluate(("a",)) == EvaluateSettings(
        root="r", run=f"{run}-report", model="both", tuned=("a",), epochs=5, seeds=3
    )


def test_the_report_needs_a_disk():
    with pytest.raises(EmotionRayError, match=r"^--root is an address: give a folder on a disk$"):
        ReproduceSettings(root="s3://bucket")


def test_an_actor_has_as_many_takes_as_an_archive():
    clips = takes_of([3, 4])
    assert len(set(clips.clip_id)) == len(clips) == 2 * TAKES_AN_ARCHIVE
    assert (clips.emotion == 0).sum() == 2 * 4


def test_the_trainings_of_the_baselines_ten_actors():
    trainings = planned_trainings(ReproduceSettings(trials=3), range(1, 11))
    sizes = {
        stage: sorted((one.model, len(one.split.train), len(one.split.validation)) for one in those)
        for stage, those in trainings.items()
    }
    both = ("attention", "lstm")
    assert sizes["train"] == [(model, 480, 120) for model in both]
    assert sizes["tune"] == [(model, 360, 120) for model in both for _ in range(3)]
    # five folds of two actors; the random split, and once more on permuted labels; each by two settings
    assert sizes["evaluate"] == [(model, size, 120) for model in both for size in (360,) * 10 + (480,) * 4]


def test_two_actors_are_too_few_and_that_is_said_before_anything_is_fetched():
    with pytest.raises(EmotionRayError, match="actor folds need at least 3 actors"):
        planned_trainings(ReproduceSettings(), [1, 2])


def wanted(held=()):
    archives = {f"{actor}.zip": Archive(f"{actor}.zip", "http://there", 500 * MB, "0" * 32) for actor in (1, 2, 3)}
    return Plan(Choice(frozenset({1, 2, 3}), frozenset({1})), archives, [], held=set(held))


def test_the_sum_of_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0, 1})
    settings = ReproduceSettings(root=str(tmp_path), epochs=10)
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "2.zip.part").write_bytes(bytes(100))
    trainings = {"train": planned_trainings(settings, range(1, 11))["train"]}
    speeds = {"lstm": Speed(0.5, 0.25), "attention": Speed(1.0, 0.0)}
    found = estimate(settings, wanted([f"clip {i}" for i in range(60)]), trainings, speeds)
    download, prepare, train, keep = found.parts
    assert (download.bytes, download.seconds) == (1500 * MB - 100, pytest.approx(75))
    assert (prepare.amount, prepare.seconds) == ("120 clips", pytest.approx(120 * module.CROP_CORE_S["track"] / 2))
    assert prepare.bytes == 120 * 60 * 64 * 64 * 3
    assert train.seconds == pytest.approx(10 * (480 * 0.5 + 120 * 0.25 + 480 * 1.0))
    assert found.seconds == download.seconds + prepare.seconds + train.seconds
    assert found.bytes == download.bytes + prepare.bytes + keep.bytes


def test_nothing_left_takes_nothing(tmp_path):
    done = wanted()
    for name, archive in done.archives.items():
        done.listings[name] = {"md5": archive.md5, "modalities": [1], "clip_ids": []}
    assert estimate(ReproduceSettings(root=str(tmp_path)), done, {}, {}).parts == ()


def test_speeds_are_of_one_clip(monkeypatch):
    def measured(model, settings, frames, size, device, threads, lengths, steps):
        return SimpleNamespace(step_seconds=4.0, batch=8, clip_seconds=dict.fromkeys(lengths, 0.1))

    monkeypatch.setattr(module, "measure_cost", measured)
    assert measure_speeds(ReproduceSettings(frames=8)) == {"lstm": Speed(0.5, 0.1), "attention": Speed(0.5, 0.1)}
