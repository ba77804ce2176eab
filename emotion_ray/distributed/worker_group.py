"""One training shared by several processes: Ray Train around the same loop that one process runs alone."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.exceptions import TrainingFailedError

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips
from emotion_ray.data.storage import Folder
from emotion_ray.distributed.preflight import Need
from emotion_ray.errors import EmotionRayError, StorageError
from emotion_ray.learning.resumable import train_resumably
from emotion_ray.settings import TrainSettings

FAILED = "failed.json"
CONTROLLER_FAILURES = 2  # Ray's default is to start the controller again for ever


@dataclass(frozen=True)
class Together:
    """What each worker of a group is given.

    Attributes:
        folder: of this training alone, a path or URI that all workers reach.
        architecture: "lstm" or "attention".
        settings: how to train; the batch is that of all workers together.
        train, validation: the clips, in Ray's object store.
        threads: PyTorch's, of each worker.
        tensorboard: write TensorBoard's events too.
    """

    folder: str
    architecture: str
    settings: TrainSettings
    train: "ray.ObjectRef[Clips]"
    validation: "ray.ObjectRef[Clips]"
    threads: int
    tensorboard: bool = False


class WorkersLostError(EmotionRayError):
    """Workers of a training died again and again. Another try may go well, from the last epoch on."""


def train_together(
    task: Together,
    workers: int,
    need: Need,
    max_failures: int,
    name: str,
    callbacks: Sequence[UserCallback] = (),
) -> None:
    """Trains by several workers until all epochs are done; checkpoint and history are in the task's folder then.

    A worker that is lost, with its machine or without, costs the epoch under way: the group is started anew and
    goes on from the folder's checkpoint.

    Args:
        task: what to train.
        workers: how many processes.
        need: of each of them.
        max_failures: how often to start anew.
        name: of this training among those of Ray.
        callbacks: for Ray Train's controller.

    Raises:
        StorageError: what a training leaves behind can't be written.
        WorkersLostError: workers were lost more often than `max_failures`.
        EmotionRayError: as `loop.fit`.
    """
    folder = Folder.at(task.folder)
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # at its default of 2 s a short run waits more
    trainer = TorchTrainer(
        _train,
        train_loop_config={"task": task},
        # Workers that share a GPU can't speak through NCCL, which wants one for each.
        torch_config=TorchConfig(backend="nccl" if need.gpus >= 1 else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=need.gpus > 0, resources_per_worker=need.resources, accelerator_type=None
        ),
        run_config=RunConfig(
            name=name,
            storage_path=folder.path if folder.is_local else folder.uri,
            failure_config=FailureConfig(max_failures=max_failures, controller_failure_limit=CONTROLLER_FAILURES),
            callbacks=list(callbacks),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = (lines or [type(error).__name__])[-1]
        raise WorkersLostError(
            f"training broke off, by: {cause:.300}; it is begun anew {max_failures} times at most: "
            "see that the machines have free CPUs and memory to spare, then go on with --resume"
        ) from None
    if folder.exists(FAILED):
        failed = json.loads(folder.read(FAILED))
        raise (StorageError if failed["of_storage"] else EmotionRayError)(failed["reason"])


def _train(config: dict[str, Any]) -> None:
    """A worker's part."""
    keep_freed_memory()
    task: Together = config["task"]
    torch.set_num_threads(task.threads)
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    train, validation = ray.get([task.train, task.validation])
    if rank == 0 and Folder.at(task.folder).exists(FAILED):  # of a group that was lost
        Folder.at(task.folder).remove(FAILED)
    try:
        for history in train_resumably(
            task.folder,
            task.architecture,
            train,
            validation,
            task.settings,
            get_device(),
            rank,
            world_size,
            task.tensorboard,
        ):
            ray.train.report(epoch_report(history))
    except EmotionRayError as error:
        # To start anew would end in the same way: it is told by a file, and the group ends in peace.
        if rank == 0:
            failed = {"reason": str(error), "of_storage": isinstance(error, StorageError)}
            Folder.at(task.folder).publish(FAILED, json.dumps(failed).encode())
        ray.train.report(failure_report(str(error)))


def epoch_report(history: list[dict[str, float]]) -> dict[str, Any]:
    """What Ray is told after an epoch: its record, and how good the run's best epoch is so far."""
    return {**history[-1], "merit": merit(history)}


def failure_report(reason: str) -> dict[str, Any]:
    """What Ray is told of a training that can't go on: worse than any that can."""
    return {"epoch": 0, "merit": -1.0, "failed": reason}


def merit(history: list[dict[str, float]]) -> float:
    """One number for the best epoch so far: its validation UAR, less a trifle for its loss, to decide ties.

    A clip more or less changes the UAR by 1/8 of 1/clips of its class: by more than the 0.001 that the loss can
    take, up to 125 validation clips of a class.
    """
    return max(record["val_uar"] - 1e-4 * min(record["val_loss"], 10.0) for record in history)
