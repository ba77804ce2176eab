"""What the loop gives after each epoch, and the checkpoint from which it goes on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from emotion_ray.data.storage import cause_of
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.architectures import Classifier
from emotion_ray.settings import TrainSettings


@dataclass(frozen=True, eq=False)
class Best:
    """The epoch with the highest validation UAR; of several such the one with the least validation loss.

    Attributes:
        epoch: 1 for the first.
        logits: float32 [N, C] of the validation clips, in their order.
        weights: the model's state dict then, copied to the CPU.
    """

    epoch: int
    logits: np.ndarray
    weights: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Epoch:
    """What came of an epoch. Of several workers each has the same.

    Attributes:
        record: the epoch's figures. `epoch`, 1 for the first; `lr`, of its last step; `train_loss`, the mean
            over clips, by their class weights, of what was minimised; `train_accuracy`, in 0..1, of the model
            as it changed, in training mode; `val_loss` in nats, without class weights or smoothing;
            `val_accuracy` and `val_uar` in 0..1; `train_seconds` and `val_seconds`; `data_wait_seconds`, the
            part of `train_seconds` spent waiting for a batch.
        history: the records of all epochs up to this one.
        step_losses: float64 [steps], each the loss of a global batch.
        logits: float32 [N, C] of the validation clips after this epoch.
        best: the best epoch so far.
        checkpoint: gives all that `fit` needs to go on from here (its `resume`), in tensors and plain values.
            The tensors are the live ones: save them before asking for the next epoch.
    """

    record: dict[str, float]
    history: list[dict[str, float]]
    step_losses: np.ndarray
    logits: np.ndarray
    best: Best
    checkpoint: Callable[[], dict]


def epoch_merit(record: dict[str, float]) -> tuple[float, float]:
    """By what epochs are compared, the larger the better: validation UAR, among equals the lower loss."""
    return record["val_uar"], -record["val_loss"]


def checkpoint(
    model: Classifier, optimizer: torch.optim.Optimizer, settings: TrainSettings, history: list, best: Best
) -> dict:
    """All that training needs to go on after the last epoch of `history`, in tensors and plain values."""
    return {
        "settings": asdict(settings),
        "history": history,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best": {"epoch": best.epoch, "logits": torch.from_numpy(best.logits), "weights": best.weights},
    }


def restore(
    checkpoint: dict, model: Classifier, optimizer: torch.optim.Optimizer, settings: TrainSettings
) -> tuple[list[dict[str, float]], Best]:
    """Puts a checkpoint into the model and the optimizer, and gives its history and best epoch.

    Raises:
        EmotionRayError: it is of another model or of other settings.
    """
    try:
        then, now = checkpoint["settings"], asdict(settings)
        other = [name for name in now if then[name] != now[name]]
        if other:
            raise EmotionRayError(
                f"the checkpoint is of a run with {other[0]} {then[other[0]]}, not {now[other[0]]}: "
                "resume with its settings, or start a new run"
            )
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        best = checkpoint["best"]
        return list(checkpoint["history"]), Best(best["epoch"], best["logits"].numpy(), best["weights"])
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise EmotionRayError(f"the checkpoint is not of this model ({cause_of(error)}): start a new run") from None
