"""The epoch loop, for one process or several, with no Ray in it.

`fit` is a generator: it trains an epoch, yields what came of it, and trains the next one when asked for it.
A plain run iterates over it, a Ray Train worker reports each epoch to Ray, a Tune trial stops by not asking
for the next.
"""

import math
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from emotion_ray.data.clips import Clips
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.batches import training_batches
from emotion_ray.learning.epochs import Best, Epoch, checkpoint, epoch_merit, restore
from emotion_ray.learning.metrics import confusion, mean_loss, uar, war
from emotion_ray.learning.predict import autocast, predict
from emotion_ray.models.architectures import Classifier, build
from emotion_ray.models.backbone import to_input
from emotion_ray.settings import TrainSettings


def new_model(architecture: str, settings: TrainSettings, clips: Clips) -> Classifier:
    """A classifier for these clips at the settings' sizes, its first weights drawn from the settings' seed.

    Raises:
        EmotionRayError: an unknown architecture, or no clips.
    """
    if len(clips) == 0:
        raise EmotionRayError("there are no training clips: prepare more takes or choose another split")
    torch.manual_seed(settings.seed)
    frames, size = clips.frames.shape[1:3]
    return build(architecture, getattr(settings, architecture, None), frames, size, len(EMOTIONS))


def fit(
    model: Classifier,
    train: Clips,
    validation: Clips,
    settings: TrainSettings,
    device: str | torch.device = "cpu",
    rank: int = 0,
    world_size: int = 1,
    resume: dict | None = None,
) -> Iterator[Epoch]:
    """Trains a model, epoch by epoch.

    The same seed gives the same losses on the same CPU, whether or not the run was resumed in between: all that
    is random in an epoch follows from the seed and the epoch's number. PyTorch's global generator is seeded anew
    at the start of each. A GPU draws the same numbers, but may add them up in another order each time.

    With several workers each runs this function, `torch.distributed` having been initialised. Dropout aside,
    they train as one would.

    Args:
        model: the first weights; moved to the device and changed in place.
        train, validation: clips of the model's size; only read, so that processes may share them.
        settings: how to train. Its `model` and sizes are not looked at: the model is what it is.
        device: where to train.
        rank, world_size: this worker's number, 0..world_size-1, and how many there are.
        resume: what `Epoch.checkpoint` gave, the same for every worker; None begins at epoch 1.

    Yields:
        Epoch: after each epoch, until `settings.epochs` or `settings.patience` ends it.

    Raises:
        EmotionRayError: an empty split, a class without training clips, clips of another size than the
            model's, a batch that the workers can't share evenly, a loss that is no longer finite, or a
            checkpoint of another model or other settings.
    """
    _check(model, train, validation, settings, world_size)
    device = torch.device(device)
    model.to(device)
    dtype = next(model.parameters()).dtype
    network = model
    if world_size > 1:
        network = DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    weight_of_class = _class_weights(train.emotion, settings)
    class_weights = torch.from_numpy(weight_of_class).to(device, dtype)
    steps = math.ceil(len(train) / settings.batch)
    history: list[dict[str, float]] = []
    best: Best | None = None
    if resume is not None:
        history, best = restore(resume, model, optimizer, settings)

    for epoch in range(len(history) + 1, settings.epochs + 1):
        if best is not None and settings.patience and len(history) - best.epoch >= settings.patience:
            return
        start, waited = time.perf_counter(), 0.0
        torch.manual_seed(epoch_seed(settings.seed, epoch, rank))
        model.train()
        losses = torch.zeros(steps, device=device, dtype=dtype)
        weights = np.zeros(steps)
        hits = torch.zeros((), device=device)
        batches = training_batches(train, settings.augment, settings.batch, settings.seed, epoch, rank, world_size)
        for step in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked

            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, (epoch - 1) * steps + step, steps)
            labels = batch.labels.to(device)
            with autocast(device, settings.mixed_precision):
                logits = network(to_input(batch.frames.to(device), dtype), batch.num_frames)
            # The mean over the global batch: this worker's sum, by what all workers' clips weigh together.
            weights[step] = weight_of_class[batch.all_labels].sum()
            summed = cross_entropy(
                logits.to(dtype),
                labels,
                class_weights,
                reduction="sum",
                label_smoothing=settings.label_smoothing,
            )
            loss = summed * (batch.counts / weights[step])
            optimizer.zero_grad()
            (loss * world_size).backward()  # of which DistributedDataParallel takes the mean over workers
            if settings.clip_norm:
                clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            losses[step] = loss.detach()
            hits += batch.counts * (logits.argmax(1) == labels).sum()
        if world_size > 1:
            dist.all_reduce(losses)
            dist.all_reduce(hits)
        step_losses = losses.double().cpu().numpy()
        trained = time.perf_counter()

        logits = predict(model, validation, device, settings.mixed_precision, rank, world_size)
        _check_finite(step_losses, logits, epoch, settings)
        counts = confusion(validation.emotion, logits.argmax(1))
        record = {
            "epoch": epoch,
            "lr": optimizer.param_groups[0]["lr"],
            "train_loss": float(np.average(step_losses, weights=weights)),
            "train_accuracy": float(hits) / len(train),
            "val_loss": mean_loss(logits, validation.emotion),
            "val_accuracy": float(war(counts)),
            "val_uar": float(uar(counts)),
            "train_seconds": trained - start,
            "val_seconds": time.perf_counter() - trained,
            "data_wait_seconds": waited,
        }
        history = [*history, record]
        if best is None or epoch_merit(record) > epoch_merit(history[best.epoch - 1]):
            best = Best(epoch, logits, {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()})
        yield Epoch(
            record,
            history,
            step_losses,
            logits,
            best,
            partial(checkpoint, model, optimizer, settings, history, best),
        )


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """What PyTorch's generator is seeded with at the start of an epoch; each worker draws other dropout."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def learning_rate(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole run."""
    warmup = settings.warmup_epochs * steps_per_epoch
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    rest = settings.epochs * steps_per_epoch - warmup
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / rest))


def _class_weights(labels: np.ndarray, settings: TrainSettings) -> np.ndarray:
    """float64 [C]; balanced ones average 1 over the clips (scikit-learn's rule of that name)."""
    if settings.class_weights == "none":
        return np.ones(len(EMOTIONS))
    return len(labels) / (len(EMOTIONS) * np.bincount(labels, minlength=len(EMOTIONS)))


def _check_finite(step_losses: np.ndarray, logits: np.ndarray, epoch: int, settings: TrainSettings) -> None:
    lost = np.flatnonzero(~np.isfinite(step_losses))
    if len(lost):
        where = f"the loss is {step_losses[lost[0]]:g} at epoch {epoch}, step {lost[0] + 1} of {len(step_losses)}"
    elif not np.isfinite(logits).all():
        where = f"the model's outputs are not finite after epoch {epoch}"
    else:
        return
    raise EmotionRayError(f"{where}: train with a lower --lr than {settings.lr:g} or with --clip-norm")


def _check(model: Classifier, train: Clips, validation: Clips, settings: TrainSettings, world_size: int) -> None:
    for split, clips in (("training", train), ("validation", validation)):
        if len(clips) == 0:
            raise EmotionRayError(f"there are no {split} clips: prepare more takes or choose another split")
        wanted, given = (model.frames, model.size, model.size, 3), clips.frames.shape[1:]
        if given != wanted:
            raise EmotionRayError(
                f"the {split} clips are of {given[0]} frames of {given[1]}x{given[2]} px, the model is for "
                f"{wanted[0]} of {wanted[1]}x{wanted[2]}: build the model for these clips"
            )
    missing = [name for label, name in enumerate(EMOTIONS) if label not in train.emotion]
    if missing:
        raise EmotionRayError(
            f"no training clip is {' or '.join(missing)}: prepare takes of all emotions, or split otherwise"
        )
    if settings.batch % world_size:
        raise EmotionRayError(
            f"{world_size} workers can't share a batch of {settings.batch} evenly: "
            f"give --batch as a multiple of {world_size}, or other --workers"
        )
