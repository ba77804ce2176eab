"""A sweep on Ray Tune: which settings are tried next, which trials are stopped, what is kept on disk meanwhile."""

import logging
import os
import time
import warnings
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from emotion_ray.data.storage import Folder
from emotion_ray.distributed.leaderboard import Row, place
from emotion_ray.distributed.search_space import baseline, is_baseline, search_space
from emotion_ray.distributed.sweep_progress import Events, Listener, listening
from emotion_ray.distributed.trial import SweepTask
from emotion_ray.distributed.worker_group import epoch_report
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.history import CHECKPOINT, read_history
from emotion_ray.learning.resumable import best_epoch
from emotion_ray.settings import TuneSettings

EXPERIMENT = "tune"
REDUCTION = 4  # of the trials at a rung, the best quarter goes on
SAVE_EVERY_S = 1  # the sweep's state; Ray's default is 10 s and more, and a kill loses the trials begun since then
PRUNE_AFTER_S = 3 * SAVE_EVERY_S


def default_grace(architecture: str) -> int:
    """Epochs that every trial gets under ASHA: more where a model may stay at chance for long, as attention does."""
    return 4 if architecture == "lstm" else 10


class Deadline:
    """A time after which a sweep winds up, in seconds from when this was made, or read back to resume; None: never."""

    def __init__(self, seconds: float | None):
        self._seconds = seconds
        self._began = time.monotonic()

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _began=time.monotonic())

    def passed(self) -> bool:
        return self._seconds is not None and time.monotonic() - self._began > self._seconds


class Search(OptunaSearch):
    """Optuna's suggestions, the baseline first, none after the deadline."""

    def __init__(self, architecture: str, workers: int, sampler: BaseSampler, deadline: Deadline):
        self._deadline = deadline
        super().__init__(
            space=search_space(architecture, workers),
            metric="merit",
            mode="max",
            points_to_evaluate=[baseline(architecture)],
            sampler=sampler,
        )

    def suggest(self, trial_id: str) -> dict | str | None:
        return Searcher.FINISHED if self._deadline.passed() else super().suggest(trial_id)


class Stopping(tune.Stopper):
    """Ends trials after the deadline, but for the baseline."""

    def __init__(self, architecture: str, deadline: Deadline):
        self._architecture, self._deadline = architecture, deadline

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._deadline.passed() and not is_baseline(self._architecture, result["config"])

    def stop_all(self) -> bool:
        return False


class SparingASHA(AsyncHyperBandScheduler):
    """ASHA, which measures the other trials by the baseline too but never stops it.

    Ray Tune keeps no scheduler's state: that of a sweep which is resumed learns anew, from the histories of the trials
    before, what it has to measure the next ones by.

    Li, Jamieson, Rostamizadeh and others (2020), "A system for massively parallel hyperparameter tuning".

    Args:
        architecture: "lstm" or "attention".
        epochs: of a trial that nothing stops.
        grace: epochs that every trial gets.
        trials: the folder of the trials' folders; None for a sweep that is never resumed.
    """

    def __init__(self, architecture: str, epochs: int, grace: int, trials: str | None = None):
        super().__init__(
            time_attr="epoch",
            metric="merit",
            mode="max",
            max_t=epochs,
            grace_period=min(grace, epochs),
            reduction_factor=REDUCTION,
            stop_last_trials=False,  # a trial that has run all its epochs ends by itself
        )
        self._architecture, self._trials = architecture, trials

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        told = trial.last_result.get("epoch", 0) if self._trials else 0
        history = read_history(f"{self._trials}/{trial.trial_id}")[:told] if told else []
        for epochs in range(1, len(history) + 1):
            super().on_trial_result(tune_controller, trial, epoch_report(history[:epochs]))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict) -> str:
        decision = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if is_baseline(self._architecture, trial.config) else decision


class Pruning:
    """A listener that leaves, of the trials that have ended, only the best one's checkpoint and the baseline's.

    It waits a little with each: until Ray Tune has written down that the trial has ended, for a sweep that is killed
    before and resumed would go on with that trial; and until workers that were stopped have written their last.
    """

    def __init__(self, task: SweepTask):
        self._task = task
        self._seen: set[str] = set()
        self._ended: deque[tuple[float, Trial]] = deque()  # when each was first seen so, in seconds
        self._best: tuple[float, float, str] | None = None  # its place, of which the last part is its id

    def __call__(self, trials: list[Trial], ended: Trial | None) -> None:
        now = time.monotonic()
        for trial in trials:
            if trial.is_finished() and trial.trial_id not in self._seen:
                self._seen.add(trial.trial_id)
                self._ended.append((now, trial))
        with suppress(EmotionRayError):  # a store that does not answer now may do so at the next event
            while self._ended and now - self._ended[0][0] >= PRUNE_AFTER_S:
                self._prune(self._ended[0][1])
                self._ended.popleft()

    def _prune(self, trial: Trial) -> None:
        if trial.status == Trial.ERROR or is_baseline(self._task.architecture, trial.config):
            return
        history = read_history(self._task.trial_folder(trial.trial_id))
        best, loser = self._best, trial.trial_id
        if history and not trial.last_result.get("failed"):
            candidate = place(best_epoch(history), trial.trial_id)
            if best is None or candidate < best:
                best, loser = candidate, best[2] if best else None
        if loser is not None:
            Folder.at(self._task.trial_folder(loser)).remove(CHECKPOINT)
        self._best = best


def run_sweep(
    settings: TuneSettings, task: SweepTask, trainable: Any, at_once: int, folder: str, *listeners: Listener
) -> list[Row]:
    """Runs the trials of a sweep, or what is left of them, and gives what came of each.

    Args:
        settings: of the sweep.
        task: what its trials have in common.
        trainable: see `trial.trainable`.
        at_once: trials at a time.
        folder: where Ray Tune keeps its state; one that holds the state of this sweep is gone on from.
        listeners: hear of its events.

    Raises:
        EmotionRayError: Ray Tune gave up.
    """
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(SAVE_EVERY_S))
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # so that Ctrl-C ends the command as any other
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints a heading that can't be turned off
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the histories and the leaderboard tell all
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Of a trial that is gone on with: Ray Tune counts its reports from 1 again. Only pruning by Optuna would mind.
    warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
    path = f"{folder}/{EXPERIMENT}"
    try:
        if tune.Tuner.can_restore(path):
            tuner = tune.Tuner.restore(path, trainable, resume_errored=True)
        else:
            tuner = _new(settings, task, trainable, at_once, folder)
        with listening(Pruning(task), *listeners):
            results = tuner.fit()
    except TuneError as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise EmotionRayError(f"the sweep can't go on ({cause:.300}): go on with --resume") from None
    rows = []
    for result in results:
        trial_id = Path(result.path).name
        reason = (result.metrics or {}).get("failed") or ""
        if result.error is not None:
            reason = f"it broke off {settings.max_failures + 1} times: {_last_line(result.error)}"
        history = read_history(task.trial_folder(trial_id))
        is_first = is_baseline(task.architecture, result.config)
        rows.append(Row.of(trial_id, result.config, is_first, history, task.epochs, reason))
    return rows


def _new(settings: TuneSettings, task: SweepTask, trainable: Any, at_once: int, folder: str) -> tune.Tuner:
    deadline = Deadline(settings.time_budget)
    sampler = TPESampler(seed=settings.seed) if settings.search == "optuna" else RandomSampler(seed=settings.seed)
    grace = settings.grace or default_grace(task.architecture)
    asha = SparingASHA(task.architecture, task.epochs, grace, task.folder) if settings.scheduler == "asha" else None
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=Search(task.architecture, task.workers, sampler, deadline),
            scheduler=asha,
            num_samples=settings.trials,
            max_concurrent_trials=at_once,
            reuse_actors=task.workers == 1,
            trial_dirname_creator=_by_id,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=folder,
            stop=Stopping(task.architecture, deadline),
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            callbacks=[Events()],
            verbose=0,
        ),
    )


def _by_id(trial: Trial) -> str:
    return trial.trial_id


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
