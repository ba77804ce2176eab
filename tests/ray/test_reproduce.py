import io
import json
from contextlib import contextmanager

import pytest
from fake_zenodo import FakeZenodo
from noise_clip import noise_clip
from portrait_video import actor_archive
from recorded_jobs import RecordedJobs
from rich.console import Console

from emotion_ray.data.clips import write_shards
from emotion_ray.data.ravdess import archive_name
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import RejectedTake
from emotion_ray.distributed import train as train_module
from emotion_ray.errors import EmotionRayError, Stopped
from emotion_ray.settings import ReproduceSettings
from emotion_ray.walkthrough import reproduce as module
from emotion_ray.walkthrough import runs
from emotion_ray.walkthrough.estimate import Speed
from emotion_ray.walkthrough.reproduce import reproduce

pytestmark = pytest.mark.ray


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(autouse=True)
def speeds(monkeypatch):
    """A machine whose speed is known."""
    known = {"lstm": Speed(0.1, 0.05), "attention": Speed(0.1, 0.05)}
    monkeypatch.setattr(module, "measure_speeds", lambda settings: known)


@pytest.fixture
def settings(tmp_path):
    return ReproduceSettings(root=str(tmp_path), actors="1-3", run="mine", epochs=1, trials=2, cost=False)


@contextmanager
def answering(monkeypatch, answer):
    """Somebody sits there and gives this answer."""
    asked = []
    monkeypatch.setattr(module.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(module.Confirm, "ask", lambda question, **_: asked.append(question) or answer)
    yield asked


def test_the_stages_and_what_is_evaluated(settings, console, monkeypatch):
    jobs = RecordedJobs(monkeypatch, module, better=["attention"])
    done = reproduce(settings, console)
    assert [name for name, _ in jobs.calls] == ["prepare", "train", "tune", "evaluate"]
    assert jobs.calls[0][1] == settings.prepare
    assert jobs.calls[-1][1].tuned == ("mine-tuned-attention",)
    assert "lstm: no trial was better than the baseline" in console.file.getvalue()
    assert done.published == {"lstm": "80%", "attention": "73%"}
    assert not done.as_the_baseline
    assert "can't be compared" in done.in_words()
    console.print(done.table())
    rows = [line.split() for line in console.file.getvalue().splitlines() if "80%" in line or "73%" in line]
    assert [row[:2] for row in rows] == [["lstm", "80%"], ["attention", "73%"]]
    assert all(len(row) == 4 for row in rows)


def test_a_stage_that_was_cut_off_goes_on_and_one_that_is_done_is_shown(settings, console, monkeypatch):
    jobs = RecordedJobs(monkeypatch, module)
    jobs.stops = {"tune"}
    with pytest.raises(KeyboardInterrupt):
        reproduce(settings, console)
    reproduce(settings, console)
    assert jobs.named == [
        ("train", "mine-baseline", False),
        ("tune", "mine-tuned", False),
        ("tune", "mine-tuned", True),
        ("evaluate", "mine-report", False),
    ]
    assert "trained before:\nmodel mine-baseline-lstm: UAR 40.0%" in console.file.getvalue()


@pytest.mark.parametrize(("yes", "answer", "begins"), [(False, False, False), (False, True, True), (True, None, True)])
def test_who_sits_there_is_asked_and_told_how_long_it_takes(settings, console, monkeypatch, yes, answer, begins):
    jobs = RecordedJobs(monkeypatch, module)
    settings = ReproduceSettings(**{**vars(settings), "yes": yes})
    with answering(monkeypatch, answer) as asked:
        if begins:
            reproduce(settings, console)
        else:
            with pytest.raises(Stopped, match="nothing was begun"):
                reproduce(settings, console)
    assert bool(asked) == (not yes)
    assert bool(jobs.calls) == begins
    said = console.file.getvalue()
    assert "3 archives, at 20 MB/s" in said
    assert "180 clips" in said
    assert "GB free" in said


def test_clips_of_others_are_refused_before_anything_is_fetched(settings, console, monkeypatch, tmp_path):
    jobs = RecordedJobs(monkeypatch, module)
    write_shards(Folder.at(tmp_path / "clips"), [noise_clip("my-video")])
    with pytest.raises(EmotionRayError, match=r"clips holds other clips too, such as my-video: give .* --clips"):
        reproduce(settings, console)
    assert jobs.calls == []


def test_an_archive_that_could_not_be_had_stops_it(settings, console, monkeypatch):
    lost = RejectedTake("a.zip", None, "fetch", "http_error", "a.zip: 503")
    jobs = RecordedJobs(monkeypatch, module, rejects=[lost])
    with pytest.raises(EmotionRayError, match=r"not everything could be had \(a.zip: 503\): run the same command"):
        reproduce(settings, console)
    assert [name for name, _ in jobs.calls] == ["prepare"]


def test_clips_stay_as_they_are_once_a_training_was_begun(settings, console, monkeypatch):
    """A take whose worker died, perhaps for want of memory, might become a clip now: the runs were begun without it."""
    lost = RejectedTake("a.zip!1.mp4", "1", "worker", "crashed", "its worker process died each time")
    jobs = RecordedJobs(monkeypatch, module, rejects=[lost])
    jobs.stops = {"tune"}
    with pytest.raises(KeyboardInterrupt):
        reproduce(settings, console)
    reproduce(settings, console)
    assert [name for name, _ in jobs.calls].count("prepare") == 1


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_from_zenodo_to_the_report(ray_here, tmp_path, console, monkeypatch):
    archives = {archive_name(actor): actor_archive(actor, 16) for actor in (1, 2, 3)}
    with FakeZenodo(archives) as zenodo:
        small = {"frames": 8, "size": 32, "epochs": 1, "trials": 2, "cost": False}
        settings = ReproduceSettings(root=str(tmp_path), base_url=zenodo.url, actors="1-3", **small)
        monkeypatch.setattr(train_module, "starts_here", lambda: True)  # and spare workers that start for seconds
        evaluate = runs.evaluate
        monkeypatch.setattr(runs, "evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            reproduce(settings, console)
        monkeypatch.setattr(runs, "evaluate", evaluate)
        done = reproduce(settings, console)
        assert sorted(request.name for request in zenodo.requests) == sorted(archives)
        said = console.file.getvalue()
        assert "trained before:" in said and "tuned before:" in said

        models = {path.name for path in (tmp_path / "models").iterdir()}
        runs_of = "reproduce-1-3"
        assert models == {
            f"{runs_of}-{stage}-{one}" for stage in ("baseline", "tuned") for one in ("lstm", "attention")
        }
        report = tmp_path / "runs" / f"{runs_of}-report" / "report.html"
        assert "The baseline's published figures" in report.read_text().replace("&#x27;", "'")
        evaluated = {(one.model, one.protocol) for one in done.summaries}
        assert {(model, protocol) for model in ("lstm", "attention") for protocol in ("random", "actor")} <= evaluated
        assert (done.data.clips, done.data.actors, done.as_the_baseline) == (48, 3, False)
        assert json.loads((tmp_path / "clips" / "prepared.json").read_text())["clips"] == 48
        assert all((tmp_path / "x" / one.path).exists() for one in done.made)

        again = reproduce(settings, console)
        assert "all stages are done" in console.file.getvalue()[len(said) :]
        assert again.made == done.made
