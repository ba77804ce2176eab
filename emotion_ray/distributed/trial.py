"""One trial of a sweep, where it runs: the same loop as any training, each epoch told to Ray Tune."""

import json
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips
from emotion_ray.data.storage import Folder
from emotion_ray.distributed.preflight import Need
from emotion_ray.distributed.search_space import Config, settings_of
from emotion_ray.distributed.worker_group import (
    Together,
    WorkersLostError,
    epoch_report,
    failure_report,
    train_together,
)
from emotion_ray.errors import EmotionRayError, StorageError
from emotion_ray.learning.resumable import train_resumably
from emotion_ray.settings import TrainSettings

CONFIG = "config.json"
DRIVER_CPUS = 0.1
"""Of a trial of several workers, for the process that watches over them."""


@dataclass(frozen=True)
class SweepTask:
    """What all trials of a sweep have in common.

    Attributes:
        folder: of the trials, a path or URI that every machine reaches; each trial has a folder in it.
        architecture: "lstm" or "attention".
        epochs: of a trial that nothing stops.
        seed: of each training.
        workers: of a trial; need: of each of them.
        max_failures: how often lost workers are replaced.
        mixed_precision: of each training.
    """

    folder: str
    architecture: str
    epochs: int
    seed: int
    workers: int
    need: Need
    max_failures: int
    mixed_precision: bool = False

    def trial_folder(self, trial_id: str) -> str:
        return f"{self.folder}/{trial_id}"

    def settings_of(self, config: Config) -> TrainSettings:
        """How a trial of this configuration trains."""
        return settings_of(self.architecture, config, self.epochs, self.seed, self.mixed_precision)


def run_trial(config: Config, task: SweepTask, train: Clips, validation: Clips) -> None:
    """A trial of one worker, in this process. The clips are Ray's shared memory: read-only, one copy a machine.

    What is wrong with a trial's settings ends it as failed. What is wrong with the storage is raised: Ray Tune begins
    such a trial again, as one whose process died, from its last epoch on.
    """
    keep_freed_memory()
    torch.set_num_threads(task.need.threads)
    folder = _begun(task, config)
    try:
        settings = task.settings_of(config)
        for history in train_resumably(folder, task.architecture, train, validation, settings, task.need.device):
            tune.report(epoch_report(history))
    except StorageError:
        raise
    except EmotionRayError as error:
        tune.report(failure_report(str(error)))


def run_trial_of_several(
    config: Config, task: SweepTask, train: "list[ray.ObjectRef[Clips]]", validation: "list[ray.ObjectRef[Clips]]"
) -> None:
    """A trial of several workers; this process only watches over them. What ends it is as in `run_trial`.

    Args:
        train, validation: references in a list of one, which Ray does not resolve on the way here.
    """
    folder = _begun(task, config)
    settings = task.settings_of(config)
    together = Together(folder, task.architecture, settings, train[0], validation[0], task.need.threads)
    try:
        train_together(together, task.workers, task.need, task.max_failures, "ray", [TuneReportCallback()])
    except (StorageError, WorkersLostError):
        raise
    except EmotionRayError as error:
        tune.report(failure_report(str(error)))


def _begun(task: SweepTask, config: Config) -> str:
    folder = task.trial_folder(tune.get_context().get_trial_id())
    Folder.at(folder).publish(CONFIG, json.dumps(config).encode())
    return folder


def trainable(task: SweepTask, train: "ray.ObjectRef[Clips]", validation: "ray.ObjectRef[Clips]") -> Any:
    """What Ray Tune runs for each trial, with the resources that it asks for.

    Args:
        task: what the trials have in common.
        train, validation: the clips, in the object store. Ray Tune would put clips there that it is given, and keep
            them for as long as this process lives: those of a second sweep would lie beside the first one's.
    """
    if task.workers == 1:
        function = tune.with_parameters(run_trial, task=task, train=train, validation=validation)
        return tune.with_resources(function, task.need.resources)
    function = tune.with_parameters(run_trial_of_several, task=task, train=[train], validation=[validation])
    return tune.with_resources(function, {"CPU": DRIVER_CPUS})
