"""What a sweep keeps in mind and on disk while it goes on, and what it shows, without a Ray behind it."""

import io
import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from ray.train import UserCallback
from ray.train.v2.api.exceptions import WorkerGroupError
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from emotion_ray.data.storage import Folder
from emotion_ray.distributed import sweep as module
from emotion_ray.distributed import sweep_progress, worker_group
from emotion_ray.distributed import trial as trial_module
from emotion_ray.distributed.leaderboard import Row, ranked
from emotion_ray.distributed.preflight import Need
from emotion_ray.distributed.search_space import baseline
from emotion_ray.distributed.sweep import PRUNE_AFTER_S, Pruning, SparingASHA
from emotion_ray.distributed.sweep_progress import LINE_EVERY_S, Display
from emotion_ray.distributed.trial import SweepTask
from emotion_ray.distributed.worker_group import epoch_report, failure_report
from emotion_ray.errors import EmotionRayError, StorageError
from emotion_ray.learning.history import CHECKPOINT, write_history

pytestmark = pytest.mark.ray

GRACE = 2
EPOCH = {"val_uar": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "train_seconds": 1.0, "val_seconds": 1.0}


class Clock:
    """Seconds that pass when told."""

    def __init__(self, monkeypatch, *modules):
        self.now = 100.0
        for one in modules:
            monkeypatch.setattr(one, "time", SimpleNamespace(monotonic=lambda: self.now))


class Stored:
    """Trials of a sweep with the folders that they write."""

    def __init__(self, folder):
        self.task = SweepTask(str(folder), "lstm", epochs=8, seed=0, workers=1, need=Need(1), max_failures=0)
        self.folder = folder
        self.trials = []

    def trial(self, name, uars, status=Trial.TERMINATED, reason="", loss=1.0, **changed):
        history = [{"epoch": number, "val_uar": uar, "val_loss": loss} for number, uar in enumerate(uars, 1)]
        trial = SimpleNamespace(
            trial_id=name,
            config={**baseline("lstm"), **changed},
            status=status,
            last_result=failure_report(reason) if reason else epoch_report(history) if history else {},
        )
        trial.is_finished = lambda: trial.status in (Trial.TERMINATED, Trial.ERROR)
        write_history(self.folder / name, history)
        (self.folder / name / CHECKPOINT).touch()
        self.trials.append(trial)
        return trial

    def kept(self):
        return {path.parent.name for path in self.folder.glob(f"*/{CHECKPOINT}")}


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path / "trials")


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch, module, sweep_progress)


def asha(trials):
    return SparingASHA("lstm", 8, GRACE, str(trials))


def decision(scheduler, trial, epoch, uar):
    return scheduler.on_trial_result(None, trial, {"epoch": epoch, "merit": uar})


def test_a_resumed_sweep_measures_by_the_trials_before(stored):
    for number in range(4):
        stored.trial(f"old{number}", [0.5, 0.6 + number / 100], lr=0.002 + number / 1000)
    late = stored.trial("late", [], Trial.PENDING, lr=0.009)
    fresh, resumed = asha(stored.folder / "elsewhere"), asha(stored.folder)
    for scheduler in (fresh, resumed):
        for trial in stored.trials:
            scheduler.on_trial_add(None, trial)
    assert decision(fresh, late, GRACE, 0.3) == TrialScheduler.CONTINUE
    assert decision(resumed, late, GRACE, 0.3) == TrialScheduler.STOP


def test_what_a_trial_under_way_was_not_judged_by_yet_is_judged_when_it_goes_on(stored):
    """Its history is an epoch ahead of what Tune has written down, and that epoch is at a rung."""
    for number in range(4):
        stored.trial(f"old{number}", [0.5, 0.6], lr=0.002 + number / 1000)
    ahead = stored.trial("ahead", [0.1, 0.2], Trial.PENDING, lr=0.009)
    ahead.last_result = {**ahead.last_result, "epoch": 1}
    resumed = asha(stored.folder)
    for trial in stored.trials:
        resumed.on_trial_add(None, trial)
    assert decision(resumed, ahead, GRACE, 0.2) == TrialScheduler.STOP


def test_checkpoints_of_the_best_and_of_the_baseline_stay(stored, clock):
    pruning = Pruning(stored.task)
    stored.trial("plain", [0.1])
    stored.trial("good", [0.6, 0.7], lr=0.002)
    stored.trial("better", [0.8, 0.2], lr=0.003)
    stored.trial("worse", [0.3], lr=0.004)
    stored.trial("nan", [0.9], reason="the loss is nan", lr=0.005)
    stored.trial("died", [0.9], Trial.ERROR, lr=0.006)  # a resumed sweep goes on with it
    under_way = stored.trial("under way", [0.99], Trial.RUNNING, lr=0.007)
    pruning(stored.trials, None)
    assert len(stored.kept()) == 7, "Tune may not have written down yet that they have ended"
    clock.now += PRUNE_AFTER_S - 0.1
    pruning(stored.trials, None)
    assert len(stored.kept()) == 7
    clock.now += 0.1
    pruning(stored.trials, None)
    assert stored.kept() == {"plain", "better", "died", "under way"}
    under_way.status = Trial.TERMINATED
    for _ in range(2):
        pruning(stored.trials, None)
        clock.now += PRUNE_AFTER_S
    assert stored.kept() == {"plain", "under way", "died"}


def test_a_store_that_is_away_for_a_moment_ends_no_sweep(stored, clock, monkeypatch):
    stored.trial("good", [0.7], lr=0.002)
    stored.trial("better", [0.8], lr=0.003)
    pruning = Pruning(stored.task)
    pruning(stored.trials, None)
    clock.now += PRUNE_AFTER_S
    with monkeypatch.context() as patch:
        patch.setattr(module.Folder, "remove", lambda *_: (_ for _ in ()).throw(EmotionRayError("no route")))
        for _ in range(2):
            pruning(stored.trials, None)
    assert stored.kept() == {"good", "better"}
    pruning(stored.trials, None)
    assert stored.kept() == {"better"}


def test_a_full_disk_is_no_fault_of_the_trial_s(stored, monkeypatch):
    reports = []
    for error, ends in ((StorageError("full"), True), (EmotionRayError("the loss is nan"), False)):
        monkeypatch.setattr(trial_module, "train_resumably", lambda *_, error=error: (_ for _ in ()).throw(error))
        monkeypatch.setattr(trial_module, "_begun", lambda task, config: str(stored.folder))
        monkeypatch.setattr(trial_module.tune, "report", reports.append)
        with pytest.raises(StorageError) if ends else nullcontext():
            trial_module.run_trial(baseline("lstm"), stored.task, None, None)
    assert reports == [failure_report("the loss is nan")]


def test_nor_is_it_that_of_a_trial_of_several_workers(stored, monkeypatch):
    folder = Folder.at(stored.folder)
    monkeypatch.setattr(trial_module, "_begun", lambda task, config: str(stored.folder))
    monkeypatch.setattr(trial_module.tune, "report", lambda report: told.append(report["failed"]))
    monkeypatch.setattr(trial_module, "TuneReportCallback", UserCallback)
    monkeypatch.setattr(worker_group, "TorchTrainer", lambda *_, **__: SimpleNamespace(fit=lambda: None))
    told = []
    for of_storage in (True, False):
        folder.publish(worker_group.FAILED, json.dumps({"reason": "why", "of_storage": of_storage}).encode())
        with pytest.raises(StorageError, match="why") if of_storage else nullcontext():
            trial_module.run_trial_of_several(baseline("lstm"), stored.task, [None], [None])
    assert told == ["why"]


def test_workers_that_were_lost_again_and_again_are_no_fault_of_the_trial_s(stored, monkeypatch):
    def fit():
        raise WorkerGroupError("the node is gone", {})

    monkeypatch.setattr(trial_module, "_begun", lambda task, config: str(stored.folder))
    monkeypatch.setattr(trial_module, "TuneReportCallback", UserCallback)
    monkeypatch.setattr(worker_group, "TorchTrainer", lambda *_, **__: SimpleNamespace(fit=fit))
    with pytest.raises(worker_group.WorkersLostError, match=r"by: the node is gone; .*then go on with --resume"):
        trial_module.run_trial_of_several(baseline("lstm"), stored.task, [None], [None])


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_two_equal_trials_the_leaderboard_and_the_pruning_choose_the_same(stored, clock, order):
    for name in order:
        stored.trial(name, [0.5], lr=0.002 if name == "a" else 0.003)
    pruning = Pruning(stored.task)
    pruning(stored.trials, None)
    clock.now += PRUNE_AFTER_S
    pruning(stored.trials, None)
    rows = [Row.of(one.trial_id, one.config, False, [{**EPOCH, "epoch": 1}], 1, "") for one in stored.trials]
    assert stored.kept() == {ranked(rows)[0].trial} == {"a"}


def test_a_sweep_that_waits_says_so(stored, clock):
    stored.trial("plain", [], Trial.PENDING)
    console = Console(file=io.StringIO(), width=200)
    with Display(console, "lstm", trials=3, epochs=8) as display:
        display(stored.trials, None)
        assert console.file.getvalue() == ""
        clock.now += LINE_EVERY_S + 1
        display(stored.trials, None)
    assert console.file.getvalue() == "0/3 trials, 0 running, 1 starting or waiting for free CPUs or GPUs, 11 s\n"
