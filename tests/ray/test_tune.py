import io
import json
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from optuna.samplers import RandomSampler
from ray import tune as ray_tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console
from small_clips import write_small_clips

from emotion_ray.data.splits import search_split
from emotion_ray.distributed import tune as module
from emotion_ray.distributed.leaderboard import LEADERBOARD
from emotion_ray.distributed.search_space import baseline
from emotion_ray.distributed.sweep import Deadline, Search, SparingASHA, Stopping
from emotion_ray.distributed.tune import tune
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.store import load_stored
from emotion_ray.settings import TuneSettings

pytestmark = pytest.mark.ray

EPOCHS, TRIALS = 6, 8


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    return folder, write_small_clips(folder / "clips", learnable=True)


@pytest.fixture
def settings(clips):
    return TuneSettings(root=str(clips[0]), trials=TRIALS, epochs=EPOCHS, grace=2, run="sweep")


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def half_broken(task, train, validation):
    """As `trial.trainable`, but trials of a two-layer model begin with weights that are not finite."""

    def run(config, task, train, validation):
        from emotion_ray.distributed import trial
        from emotion_ray.learning import resumable

        assert not train.frames.flags.writeable  # the object store's own memory
        whole = resumable.new_model

        def broken(*arguments):
            model = whole(*arguments)
            model.fc.bias.data[0] = float("nan")
            return model

        if config["lstm.layers"] == 2:
            resumable.new_model = broken
        try:
            trial.run_trial(config, task, train, validation)
        finally:
            resumable.new_model = whole

    function = ray_tune.with_parameters(run, task=task, train=train, validation=validation)
    return ray_tune.with_resources(function, task.need.resources)


@pytest.mark.timeout(120)
def test_a_sweep_from_clips_to_a_model(ray_here, clips, settings, console, monkeypatch):
    root, all_clips = clips
    monkeypatch.setattr(module, "trainable", half_broken)
    (sweep,) = tune(replace(settings, mixed_precision=True), console)

    rows = sweep.board.rows
    assert len({row.trial for row in rows}) == len(rows) == TRIALS
    (plain,) = [row for row in rows if row.baseline]
    assert (plain.status, plain.epochs) == ("all epochs", EPOCHS)
    assert plain.config == baseline("lstm")
    failed = [row for row in rows if row.status == "failed"]
    assert failed
    assert {row.trial for row in failed} == {row.trial for row in rows if row.config["lstm.layers"] == 2}
    assert all("the loss is nan at epoch 1" in row.reason for row in failed)
    assert rows[-len(failed) :] == tuple(failed)
    through = rows[: -len(failed)]
    assert [row.val_uar for row in through] == sorted((row.val_uar for row in through), reverse=True)
    assert all(2 <= row.epochs <= EPOCHS for row in through)

    folder = root / "runs" / "sweep" / "lstm"
    board = json.loads((folder / LEADERBOARD).read_text())
    assert [row["trial"] for row in board["trials"]] == [row.trial for row in rows]
    assert {path.name for path in folder.glob("*.png")} >= {"learning_curves.png", "learning_rate.png"}
    assert not list(folder.rglob("checkpoint.pt"))
    begun = sorted((folder / "trials").iterdir(), key=lambda path: (path / "config.json").stat().st_mtime_ns)
    assert plain.trial in {path.name for path in begun[:2]}  # two begin at once

    record = load_stored(root / "models", "sweep").record
    split = search_split("actor", all_clips.emotion, all_clips.actor, all_clips.clip_id, 0, 1)
    assert record.split["test"] == [all_clips.clip_id[place] for place in split.test]
    assert not set(record.split["test"]) & set(record.split["train"] + record.split["validation"])
    assert record.training["lr"] == sweep.board.best.config["lr"]
    assert record.training["mixed_precision"] is True
    assert record.metrics["uar"][0] == pytest.approx(sweep.board.test["best"]["uar"].value)
    gain = sweep.board.test["gain"]["uar"].value
    assert gain == pytest.approx(sweep.board.test["best"]["uar"].value - sweep.board.test["baseline"]["uar"].value)
    said = console.file.getvalue()
    assert "tuning on a cluster of 1 node: 2 CPU, 0 GPU: 2 trials at a time, each of 1 x 1 CPU" in said
    assert "failed: the loss is nan" in said
    assert "baseline ended at epoch 6" in said
    with pytest.raises(EmotionRayError, match="run sweep is complete"):
        tune(TuneSettings(root=str(root), run="sweep", resume=True), console)


def result_of(config, epoch, merit):
    trial = SimpleNamespace(trial_id=str(id(config)), config=config)
    return trial, {"epoch": epoch, "merit": merit, "config": config}


def test_the_baseline_is_never_stopped_early():
    asha = SparingASHA("lstm", epochs=30, grace=4)
    better = [{**baseline("lstm"), "lr": 0.001 + 0.0001 * number} for number in range(1, 9)]
    for config in [*better, plain := baseline("lstm"), worst := {**baseline("lstm"), "lr": 0.01}]:
        asha.on_trial_add(None, result_of(config, 0, 0)[0])
    for number, config in enumerate(better):
        asha.on_trial_result(None, *result_of(config, 4, 0.5 + 0.01 * number))
    assert asha.on_trial_result(None, *result_of(worst, 3, 0.1)) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(None, *result_of(worst, 4, 0.1)) == TrialScheduler.STOP
    assert asha.on_trial_result(None, *result_of(plain, 4, 0.1)) == TrialScheduler.CONTINUE
    assert asha.on_trial_result(None, *result_of(plain, 29, 0.1)) == TrialScheduler.CONTINUE


@pytest.mark.parametrize("seconds", [None, 0.05, 100])
def test_after_the_deadline_no_trial_begins_and_only_the_baseline_goes_on(seconds):
    deadline = Deadline(seconds)
    search, stopping = Search("lstm", 1, RandomSampler(seed=0), deadline), Stopping("lstm", deadline)
    assert search.suggest("a") == baseline("lstm")
    time.sleep(0.06)
    over = seconds == 0.05
    other = {**baseline("lstm"), "lr": 0.002}
    assert (search.suggest("b") == Searcher.FINISHED) == over
    assert stopping("b", {"config": other}) == over
    assert not stopping("a", {"config": baseline("lstm")})


def test_the_same_seed_suggests_the_same_trials():
    def suggested(seed):
        search = Search("attention", 1, RandomSampler(seed=seed), Deadline(None))
        return [search.suggest(str(number)) for number in range(4)]

    assert suggested(1) == suggested(1)
    assert suggested(1)[0] == suggested(2)[0] == baseline("attention")
    assert suggested(1)[1:] != suggested(2)[1:]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"max_concurrent": 64}, "64 trials at once, each of 1 worker x 1 CPU = 64 CPU, and this machine has "),
        ({"cpus_per_worker": 512}, "1 worker x 512 CPU = 512 CPU, and this machine has "),
        ({"workers_per_trial": 64}, "64 workers a trial can't share the baseline's batch of 8 evenly"),
        ({"device": "cuda"}, "give --device cpu"),
        ({"clips": "/nowhere"}, "no clips in /nowhere"),
        ({"fold": 5}, "there is no actor fold 5"),
    ],
)
def test_what_can_not_be_is_refused_before_ray_is_started(settings, console, monkeypatch, more, says):
    monkeypatch.setattr(module, "starts_here", lambda: True)
    monkeypatch.setattr(module, "connected", lambda *_: pytest.fail("Ray was started"))
    began = time.monotonic()
    with pytest.raises(EmotionRayError) as caught:
        tune(TuneSettings(**{**vars(settings), "run": "refused", **more}), console)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 2


def test_a_cluster_that_is_too_small_is_told_within_two_seconds(ray_here, settings, console):
    began = time.monotonic()
    with pytest.raises(EmotionRayError, match="give --max-concurrent 2"):
        tune(TuneSettings(**{**vars(settings), "run": "large", "max_concurrent": 3}), console)
    assert time.monotonic() - began < 2


def test_a_disk_that_is_too_small_is_told_with_the_sum(ray_here, settings, console, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    with pytest.raises(EmotionRayError, match=r"a sweep needs up to 8 checkpoints x .* GB, and .* has 0.1 GB free"):
        tune(TuneSettings(**{**vars(settings), "run": "full"}), console)
