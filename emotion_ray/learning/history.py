"""What a run leaves behind while it trains: its history and a checkpoint to go on from."""

import io
import json
from pathlib import Path
from typing import Any

import torch

from emotion_ray.data.storage import Folder
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


def open_tensorboard(folder: str | Path) -> Any:
    """A `SummaryWriter` of TensorBoard events into `tensorboard/`, to be closed at the end."""
    from torch.utils.tensorboard import SummaryWriter  # here, because it takes seconds to import

    return SummaryWriter(str(Path(folder) / TENSORBOARD))


def write_tensorboard(events: Any, epoch: Epoch) -> None:
    """Adds an epoch's figures, and the loss of each of its steps, to TensorBoard's events."""
    number = int(epoch.record["epoch"])
    for name, value in epoch.record.items():
        events.add_scalar(name.replace("_", "/", 1), value, number)
    first_step = len(epoch.step_losses) * (number - 1)
    for step, loss in enumerate(epoch.step_losses):
        events.add_scalar("step/loss", loss, first_step + step)
    events.flush()
