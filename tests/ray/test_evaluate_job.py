import io
import json

import pytest
from rich.console import Console
from small_clips import write_small_clips

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.distributed import evaluate as module
from emotion_ray.distributed.evaluate import evaluate
from emotion_ray.distributed.preflight import Machine, Need
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning import cross_corpus
from emotion_ray.learning.evaluate import plan
from emotion_ray.learning.predictions import load_evaluation
from emotion_ray.learning.summaries import summarise
from emotion_ray.models.architectures import build
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import save_model
from emotion_ray.settings import AttentionSettings, EvaluateSettings, LSTMSettings, TrainSettings

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    return folder, write_small_clips(folder / "clips", learnable=True)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setattr(module, "starts_here", lambda: True)
    monkeypatch.setattr(module, "connected", lambda *_: pytest.fail("Ray was started"))


def settings_for(root, **more):
    return EvaluateSettings(root=str(root), **{"model": "lstm", "epochs": 2, "cost": False, "at_once": 1, **more})


@pytest.mark.timeout(90)
def test_tasks_on_ray_and_one_process_come_to_the_same(ray_here, clips, console, monkeypatch):
    root, all_clips = clips
    report, evaluation = evaluate(settings_for(root, run="tasks", at_once=2), console)
    assert "2 trainings at a time, each 1 CPU" in console.file.getvalue()
    monkeypatch.setattr(module, "starts_here", lambda: True)
    evaluate(settings_for(root, run="plain"), console)
    theirs, ours = load_evaluation(root / "runs" / "plain"), load_evaluation(root / "runs" / "tasks")
    columns = ["clip_id", "protocol", "fold", "labels", "choice", "epoch", "emotion"]
    assert ours.predictions.select(columns).equals(theirs.predictions.select(columns))
    actor = [row for row in ours.predictions.to_pylist() if (row["protocol"], row["choice"]) == ("actor", "best")]
    assert sorted(row["clip_id"] for row in actor) == all_clips.clip_id
    assert {(one.protocol, one.choice, one.labels) for one in summarise(evaluation.predictions)} >= {
        ("actor", "best", "true"), ("random", "last", "true"), ("random", "best", "permuted"),
    }  # fmt: skip
    page = report.read_text()
    assert report == root / "runs" / "tasks" / "report.html"
    assert "Which frames count" in page
    assert not (report.parent / "parts").exists()
    assert json.loads((report.parent / "run.json").read_text())["complete"]


def test_what_is_done_is_not_done_again(alone, clips, console, monkeypatch):
    root, _ = clips
    work, asked = module._trained_and_tested, []

    def breaking(clips, run, *more):
        asked.append(str(run))
        return "the machine is on fire" if len(asked) == 3 else work(clips, run, *more)

    monkeypatch.setattr(module, "_trained_and_tested", breaking)
    with pytest.raises(EmotionRayError, match=r"^lstm, actor fold 3, seed 0: the machine is on fire$"):
        evaluate(settings_for(root, run="cut", protocol="actor", control=False), console)
    report, _ = evaluate(EvaluateSettings(root=str(root), resume=True), console)
    assert asked == [f"lstm, actor fold {fold}, seed 0" for fold in (1, 2, 3, 3, 4)]
    assert report.parent.name == "cut"
    assert (report.parent / "frames-1.png").exists()  # of the first training, which the first run had done


def test_a_stored_model_is_evaluated_by_its_settings(alone, clips, console):
    from emotion_ray.distributed.train import train
    from emotion_ray.settings import TrainRunSettings

    root, _ = clips
    sizes = {"lstm": LSTMSettings(8), "attention": AttentionSettings(8, 2, 1, 16)}
    small = TrainRunSettings(
        root=str(root), run="mine", model="both", epochs=1, lr=0.002, protocol="actor", device="cpu", **sizes
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emotion_ray.distributed.train.starts_here", lambda: True)
        train(small, console)
    tuned = ("mine-lstm", "mine-attention")
    chosen = settings_for(root, run="mine-tested", model="none", tuned=tuned, protocol="random", epochs=None)
    report, evaluation = evaluate(chosen, console)
    assert set(evaluation.predictions["model"].to_pylist()) == set(tuned)
    text = report.with_suffix(".md").read_text()
    assert "lr 0.002" in text
    assert "If a sweep chose the settings of mine-lstm, it did so by" in text
    assert "If a sweep chose the settings of mine-attention, it did so by" in text


def test_the_last_epoch_of_a_random_split_is_not_chosen_by_its_clips(clips):
    _, all_clips = clips
    settings = TrainSettings(epochs=6, patience=1, lr=0.0001, lstm=LSTMSettings(4))
    runs = plan(all_clips, ["lstm"], ["random", "actor"], [0], control=False)
    lengths = {}
    for run in (runs[0], runs[1]):
        (_, history), _ = module._trained_and_tested(all_clips, run, settings, Need(1), False)
        lengths[run.split.protocol] = len(history)
    assert lengths["random"] == 6
    assert lengths["actor"] < 6, "patience was not put to the test"


def store_small(root, name):
    small = LSTMSettings(hidden_size=4)
    weights = build("lstm", small, 4, 16, len(EMOTIONS)).state_dict()
    save_model(root / "models", name, weights, ModelRecord("lstm", small, 4, 16, EMOTIONS))


def test_a_test_of_stored_models_that_was_cut_off_is_gone_on_with(alone, clips, console, monkeypatch):
    root, _ = clips
    store_small(root, "as-it-is")
    with monkeypatch.context() as patch:
        patch.setattr(cross_corpus, "write_report", stand_in_that_fails)
        with pytest.raises(EmotionRayError, match=r"^no space left$"):
            evaluate(EvaluateSettings(root=str(root), run="stored", stored=("as-it-is",), device="cpu"), console)
    report, evaluation = evaluate(EvaluateSettings(root=str(root), run="stored", resume=True), console)
    (summary,) = summarise(evaluation.predictions)
    assert (report.parent.name, summary.model, summary.protocol) == ("stored", "as-it-is", "stored")


def stand_in_that_fails(*_):
    raise EmotionRayError("no space left")


def test_a_gpu_that_is_not_there_is_refused_for_stored_models_too(alone, clips, console, monkeypatch):
    store_small(clips[0], "for-a-gpu")
    monkeypatch.setattr(module, "this_machine", lambda: Machine(2, 0))
    settings = EvaluateSettings(root=str(clips[0]), run="gpu", stored=("for-a-gpu",), device="cuda")
    with pytest.raises(EmotionRayError, match="GPU"):
        evaluate(settings, console)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"model": "lstm", "tuned": ("lstm",)}, "lstm names two models here"),
        ({"model": "none"}, "nothing to evaluate: give --model, or --tuned"),
        ({"tuned": ("ghost",)}, "there is no model in .*ghost"),
        ({"at_once": 64}, r"64 workers x 1 CPU = 64 CPU, and this machine has .*give --at-once"),
        ({"clips": "/nowhere"}, "no clips in /nowhere"),
    ],
)
def test_what_can_not_be_is_refused(alone, clips, console, more, says):
    with pytest.raises(EmotionRayError, match=says):
        evaluate(settings_for(**{"root": clips[0], "run": "refused", **more}), console)
