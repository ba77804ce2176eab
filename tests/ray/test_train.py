import io
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from memory import tree
from rich.console import Console
from small_clips import write_small_clips

from emotion_ray.distributed import train as module
from emotion_ray.distributed.train import train
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.history import CHECKPOINT, HISTORY, TENSORBOARD, read_history
from emotion_ray.models.store import load_stored
from emotion_ray.settings import AttentionSettings, TrainRunSettings

pytestmark = pytest.mark.ray

EPOCHS = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    write_small_clips(folder / "clips", count=192)
    return folder


@pytest.fixture
def settings(root):
    small = AttentionSettings(dropout=0.0, embedding=64, feed_forward=64)
    return TrainRunSettings(root=str(root), epochs=EPOCHS, cpus_per_worker=1, attention=small)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def alone(monkeypatch):
    """As on a machine where no cluster is there, and where no Ray may be started."""
    monkeypatch.setattr(module, "starts_here", lambda: True)
    monkeypatch.setattr(module, "connected", lambda *_: pytest.fail("Ray was started"))


def kill_a_worker(history: Path, before: list[dict]) -> None:
    """Kills one of the training's workers in its second epoch; `before` gets the epochs that had ended then."""
    until = time.monotonic() + 60
    while not history.exists() and time.monotonic() < until:
        time.sleep(0.01)
    for pid in tree(os.getpid()):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::RayTrainWorker"):
            before += read_history(history.parent)
            os.kill(pid, signal.SIGKILL)
            return


@pytest.mark.timeout(120)
def test_two_workers_of_which_one_is_killed_train_as_one_does_alone(ray_here, root, settings, console, monkeypatch):
    settings = replace(settings, model="attention", batch=8)
    with monkeypatch.context() as patch:
        patch.setattr(module, "starts_here", lambda: True)
        patch.setattr(module, "connected", lambda *_: pytest.fail("Ray was started"))
        train(replace(settings, run="alone"), console)

    before = []
    history = root / "runs" / "together" / "attention" / HISTORY
    killer = threading.Thread(target=kill_a_worker, args=(history, before))
    killer.start()
    (stored,) = train(replace(settings, run="together", workers=2), console)
    killer.join()
    assert before
    ours, theirs = read_history(history.parent), read_history(root / "runs" / "alone" / "attention")
    assert [record["epoch"] for record in ours] == list(range(1, EPOCHS + 1))
    assert ours[: len(before)] == before, "it began anew: the seconds of its epochs would be the same by chance alone"
    for name, tolerance in (("train_loss", 1e-4), ("val_loss", 1e-4)):
        np.testing.assert_allclose([r[name] for r in ours[:2]], [r[name] for r in theirs[:2]], rtol=0, atol=tolerance)
    assert (stored.name, len(stored.trained.history)) == ("together", EPOCHS)
    assert load_stored(root / "models", "together").record.architecture == "attention"
    assert "training on a cluster of 1 node: 2 CPU, 0 GPU: 2 x 1 CPU" in console.file.getvalue()
    assert f"epoch {EPOCHS}/{EPOCHS}: training loss" in console.file.getvalue()


def test_one_worker_needs_no_ray(alone, root, settings, console):
    models = train(replace(settings, model="both", epochs=2, run="plain"), console)
    assert [one.name for one in models] == ["plain-lstm", "plain-attention"]
    for one in models:
        record = load_stored(root / "models", one.name).record
        assert one.summary.war.value == record.metrics["war"][0]
        assert "random split" in record.protocol
        folder = root / "runs" / "plain" / record.architecture
        assert len(read_history(folder)) == 2
        assert list((folder / TENSORBOARD).iterdir())
        assert not (folder / CHECKPOINT).exists()
    with pytest.raises(EmotionRayError, match="run plain is complete, its models are plain-lstm, plain-attention"):
        train(TrainRunSettings(root=str(root), run="plain", resume=True), console)


def test_a_run_that_was_cut_off_goes_on(alone, root, settings, console, monkeypatch):
    settings = replace(settings, model="both", epochs=4, run="cut")
    store = module.store_model

    def cut_off(*arguments):
        raise KeyboardInterrupt if arguments[1] == "cut-attention" else None

    monkeypatch.setattr(
        module, "store_model", lambda *given: cut_off(*given) if "attention" in given[1] else store(*given)
    )
    with pytest.raises(KeyboardInterrupt):
        train(settings, console)
    monkeypatch.setattr(module, "store_model", store)
    before = read_history(root / "runs" / "cut" / "attention")
    (stored,) = train(TrainRunSettings(root=str(root), resume=True), console)
    assert stored.name == "cut-attention"
    assert list(stored.trained.history) == before
    assert stored.trained.settings == settings.training


def test_a_model_that_was_stored_is_not_trained_again_though_the_run_does_not_know(
    alone, root, settings, console, monkeypatch
):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(replace(settings, epochs=1, run="late"), console)
    folder = root / "runs" / "late"
    assert (folder / "lstm" / CHECKPOINT).exists()
    assert train(TrainRunSettings(root=str(root), run="late", resume=True), console) == []
    assert "run late: its models are in the store already" in console.file.getvalue()
    assert not (folder / "lstm" / CHECKPOINT).exists()
    assert json.loads((folder / "run.json").read_text())["complete"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"run": "x" * 95, "model": "both"}, "is no name for a model: use at most 100 letters"),
        ({"workers": 64, "batch": 64}, "64 workers x 1 CPU = 64 CPU, and this machine has "),
        ({"device": "cuda"}, "give --device cpu"),
        ({"workers": 3}, "3 workers can't share a batch of 8 evenly: give --batch as a multiple of 3"),
        ({"clips": "/nowhere"}, "no clips in /nowhere"),
        ({"protocol": "actor", "fold": 9}, "there is no actor fold 9: these clips have 1 to 4"),
        ({"run": "../x"}, "is no name for a run"),
    ],
)
def test_what_can_not_be_is_refused_before_ray_is_started(alone, root, settings, console, more, says):
    began = time.monotonic()
    with pytest.raises(EmotionRayError) as caught:
        train(replace(settings, **{"run": "refused", **more}), console)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 2
    assert not (root / "runs" / "refused").exists()


def test_a_cluster_that_is_too_small_is_told_within_two_seconds(ray_here, settings, console):
    began = time.monotonic()
    with pytest.raises(EmotionRayError, match=r"8 workers x 1 CPU = 8 CPU, and this machine has 2 CPU and 0 GPU"):
        train(replace(settings, workers=8, run="large"), console)
    assert time.monotonic() - began < 2
    assert not (Path(settings.root) / "runs" / "large" / "run.json").exists()


def test_a_model_of_that_name_is_not_replaced(alone, root, settings, console):
    train(replace(settings, epochs=1, run="twice"), console)
    (root / "runs" / "twice" / "run.json").unlink()
    with pytest.raises(EmotionRayError, match=r"there is a model twice in .*: give another --run"):
        train(replace(settings, epochs=1, run="twice"), console)


def test_a_loss_that_is_not_finite_is_one_line(root, settings, console, monkeypatch):
    monkeypatch.setattr(module, "starts_here", lambda: True)
    from emotion_ray.learning import resumable

    whole = resumable.new_model

    def broken(*arguments):
        model = whole(*arguments)
        model.fc.bias.data[0] = float("nan")
        return model

    monkeypatch.setattr(resumable, "new_model", broken)
    with pytest.raises(EmotionRayError, match=r"^the loss is nan at epoch 1, step 1 of .*: train with a lower --lr"):
        train(replace(settings, run="nan"), console)
