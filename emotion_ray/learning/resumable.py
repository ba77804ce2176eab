"""A training that survives being killed: after each epoch it leaves all it needs to go on from there.

Everything that trains does it by this one function: a plain run, each worker of a distributed one, each trial of
a sweep. What they have in common is a folder, which every worker must be able to reach.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist

from emotion_ray.data.clips import Clips
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.epochs import epoch_merit
from emotion_ray.learning.history import TensorBoard, read_checkpoint, read_history, write_checkpoint, write_history
from emotion_ray.learning.loop import fit, new_model
from emotion_ray.settings import TrainSettings

History = list[dict[str, float]]
"""The records of all epochs so far; see `epochs.Epoch`."""


def train_resumably(
    folder: str | Path,
    architecture: str,
    train: Clips,
    validation: Clips,
    settings: TrainSettings,
    device: str | torch.device = "cpu",
    rank: int = 0,
    world_size: int = 1,
    tensorboard: bool = False,
) -> Iterator[History]:
    """Trains a model, from the folder's checkpoint on where there is one.

    A kill at any moment costs the epoch under way and no more.

    Args:
        folder: of this training alone; gets `checkpoint.pt` and `history.jsonl`, whole at any time.
        architecture: "lstm" or "attention".
        train, validation, settings, device, rank, world_size: as for `loop.fit`. The worker of rank 0 writes.
        tensorboard: also write TensorBoard events into the folder, where it is on a disk.

    Yields:
        the history: of the epochs found there, if any, and then after each epoch.

    Raises:
        EmotionRayError: as `loop.fit`, or the folder can't be written.
    """
    model = new_model(architecture, settings, train)
    if rank == 0:
        Folder.at(folder).remove_partials()
    found = read_checkpoint(folder)
    if found is not None:
        history = found.get("history", [])
        if rank == 0 and len(read_history(folder)) < len(history):  # killed between the two files of an epoch
            write_history(folder, history)
        yield history
    watched = tensorboard and rank == 0 and Folder.at(folder).is_local
    with TensorBoard(folder) if watched else nullcontext() as events:
        for epoch in fit(model, train, validation, settings, device, rank, world_size, resume=found):
            failure = None
            if rank == 0:
                try:
                    write_checkpoint(folder, epoch)
                    write_history(folder, epoch.history)
                    if events is not None:
                        events.write(epoch)
                except EmotionRayError as error:
                    failure = error
            if world_size > 1:
                failure = _together(failure, device)
            if failure is not None:
                raise failure
            yield epoch.history


def _together(failure: EmotionRayError | None, device: str | torch.device) -> EmotionRayError | None:
    """Tells all workers of one's failure: else they would wait for it in the next epoch until their time is out."""
    failed = torch.tensor(float(failure is not None), device=device)
    dist.all_reduce(failed)
    if failed.item() and failure is None:
        return EmotionRayError("another worker of this training failed")
    return failure


def best_epoch(history: History) -> dict[str, float]:
    """The record of the epoch that validation chooses: the highest UAR, among equals the least loss."""
    return max(history, key=epoch_merit)
