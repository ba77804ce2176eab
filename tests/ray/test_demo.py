import io
import re
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from recorded_jobs import RecordedJobs
from rich.console import Console

from emotion_ray.errors import EmotionRayError
from emotion_ray.sample import SampleIndex, planned_takes
from emotion_ray.walkthrough import demo as module
from emotion_ray.walkthrough.demo import LSTM, REPORT, SHORT_ATTENTION, demo

pytestmark = pytest.mark.ray


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def jobs(monkeypatch):
    return RecordedJobs(monkeypatch, module)


@pytest.fixture
def annotated(monkeypatch, tmp_path):
    """The videos that were annotated; the sample is one archive whose takes hold their names."""
    videos = []

    def build(folder, size, progress):
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "Video_Speech_Actor_01.zip", "w") as archive:
            for take in planned_takes(size):
                archive.writestr(take.member, take.clip_id)
        progress(16, 64)
        return SampleIndex(folder, size, 0, {"Video_Speech_Actor_01.zip": (1, "0" * 32)})

    def predict(settings, paths, model, console):
        videos.append(Path(paths[0]))
        outputs = module.Outputs.named(Path(settings.out), Path(paths[0]).stem, settings.timeline)
        outputs.video.parent.mkdir(exist_ok=True)
        outputs.video.touch()
        return [type("Predicted", (), {"outputs": outputs})], []

    monkeypatch.setattr(module, "build_sample", build)
    monkeypatch.setattr(module, "mirror", lambda folder: nullcontext("http://mirror"))
    monkeypatch.setattr(module, "real_clips", lambda: {module.REAL_CLIP: tmp_path / "sample_02.mp4"})
    monkeypatch.setattr(module, "predict_videos", predict)
    return videos


def test_all_stages_once_and_then_they_are_shown(jobs, annotated, tmp_path, console):
    root = tmp_path / "root"
    made = demo(root, console)
    assert [name for name, _ in jobs.calls] == ["prepare", "tune", "tune", "evaluate"]
    (_, prepare), (_, lstm), (_, attention), (_, report) = jobs.calls
    assert (prepare.base_url, prepare.actors, prepare.root) == ("http://mirror", "1-1", str(root))
    assert lstm.model == "lstm" and lstm.trials > 1
    assert attention.model == "attention" and attention.trials == 1 and "short" in attention.run
    assert report.tuned == (LSTM, SHORT_ATTENTION)
    assert annotated == [tmp_path / "sample_02.mp4"]
    paths = {one.what: Path(one.path) for one in made}
    assert paths["leaderboard"].is_file()
    assert paths["video"] == root / "annotated" / "sample_02_annotated.mp4"
    assert sorted(path.name for path in paths["models"].iterdir()) == [SHORT_ATTENTION, LSTM]
    said = console.file.getvalue()
    assert re.findall(r"^(\d)/6 (?!done)", said, re.MULTILINE) == list("123456")
    heads = re.findall(r"^[1-5]/6 (?!done).*$", said, re.MULTILINE)
    assert all("synthetic sample" in head for head in heads)
    assert "not meant to be good" in said

    before = list(jobs.calls)
    again = demo(root, console)
    assert jobs.calls[len(before) :] == [("prepare", prepare)]  # which sees itself that all clips are there
    assert len(annotated) == 1
    assert again == made
    shown = console.file.getvalue()[len(said) :]
    assert shown.count("tuned before:") == 2
    assert "evaluated before:" in shown
    assert "annotated before:" in shown


def test_a_stage_that_was_cut_off_goes_on(jobs, annotated, tmp_path, console):
    jobs.stops = {"evaluate"}
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path, console)
    demo(tmp_path, console)
    assert jobs.named == [
        ("tune", LSTM, False),
        ("tune", SHORT_ATTENTION, False),
        ("evaluate", REPORT, False),
        ("evaluate", REPORT, True),
    ]


def test_without_a_network_the_video_is_of_the_sample(jobs, annotated, tmp_path, console, monkeypatch):
    def unreachable():
        raise EmotionRayError("the real clips can't be had")

    monkeypatch.setattr(module, "real_clips", unreachable)
    demo(tmp_path, console)
    assert annotated == [tmp_path / "synthetic_take.mp4"]
    assert annotated[0].read_text().endswith("-01")
    assert "a take of the synthetic sample" in console.file.getvalue()


def test_a_run_of_other_settings_is_not_taken_for_this_one(jobs, annotated, tmp_path, console, monkeypatch):
    demo(tmp_path, console)
    monkeypatch.setattr(module, "EPOCHS", module.EPOCHS + 1)
    with pytest.raises(EmotionRayError, match=f"{LSTM} was begun with epochs {module.EPOCHS - 1}, not {module.EPOCHS}"):
        demo(tmp_path, console)


def test_a_video_that_can_not_be_annotated_is_an_error(jobs, annotated, tmp_path, console, monkeypatch):
    monkeypatch.setattr(module, "predict_videos", lambda *_: ([], ["real.mp4 has no face"]))
    with pytest.raises(EmotionRayError, match=r"^real.mp4 has no face$"):
        demo(tmp_path, console)
