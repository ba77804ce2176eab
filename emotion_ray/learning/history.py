"""What a run leaves behind while it trains: its history and a checkpoint to go on from."""

import io
import json
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import torch

from emotion_ray.data.storage import Folder, cause_of
from emotion_ray.errors import StorageError
from emotion_ray.learning.epochs import Epoch
from emotion_ray.models.weights import LARGEST_FILE, read_tensors

HISTORY, CHECKPOINT, TENSORBOARD = "history.jsonl", "checkpoint.pt", "tensorboard"
LARGEST_CHECKPOINT = 5 * LARGEST_FILE  # the weights, the best epoch's and two means of each, and some more


def write_history(folder: str | Path, history: list[dict[str, float]]) -> None:
    """Writes `history.jsonl`, the record of each epoch in a line of JSON, whole or not at all.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    lines = "".join(json.dumps(record) + "\n" for record in history)
    Folder.at(folder).publish(HISTORY, lines.encode())


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """What `write_history` wrote last; nothing where there is none."""
    place = Folder.at(folder)
    lines = place.read(HISTORY).decode().splitlines() if place.exists(HISTORY) else []
    return [json.loads(line) for line in lines]


def write_checkpoint(folder: str | Path, epoch: Epoch) -> None:
    """Writes `checkpoint.pt`, from which `fit` goes on (51 MB and more), whole or not at all.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    stream = io.BytesIO()
    torch.save(epoch.checkpoint(), stream)
    Folder.at(folder).publish(CHECKPOINT, stream.getbuffer())


def read_checkpoint(folder: str | Path) -> dict | None:
    """What `write_checkpoint` wrote last, for `fit`'s `resume`; None where there is none.

    Raises:
        EmotionRayError: the file is damaged, or could run code.
    """
    place = Folder.at(folder)
    return read_tensors(place, CHECKPOINT, LARGEST_CHECKPOINT) if place.exists(CHECKPOINT) else None


class TensorBoard(AbstractContextManager):
    """TensorBoard's events of a training, in the folder's `tensorboard/`; what is open is closed with the block.

    Args:
        folder: of the training, on a disk.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder) / TENSORBOARD
        self._writer: Any = None

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            with suppress(OSError):  # what can't be written now could not be before, and was told then
                self._writer.close()

    def write(self, epoch: Epoch) -> None:
        """Adds an epoch's figures, and the loss of each of its steps.

        Raises:
            StorageError: the folder can't be written.
        """
        try:
            self._write(epoch)
        except OSError as error:
            raise StorageError(
                f"can't write TensorBoard's events in {self._folder}: {cause_of(error)}; free space, then go on"
            ) from None

    def _write(self, epoch: Epoch) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # here, because it takes seconds to import

            self._writer = SummaryWriter(str(self._folder))
        number = int(epoch.record["epoch"])
        for name, value in epoch.record.items():
            self._writer.add_scalar(name.replace("_", "/", 1), value, number)
        first_step = len(epoch.step_losses) * (number - 1)
        for step, loss in enumerate(epoch.step_losses):
            self._writer.add_scalar("step/loss", loss, first_step + step)
        self._writer.flush()
