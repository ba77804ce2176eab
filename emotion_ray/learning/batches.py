"""Clips in memory, batch by batch, in an order that follows from the seed and the epoch alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emotion_ray.data.clips import Clips
from emotion_ray.learning.augment import Change, changed, is_off
from emotion_ray.settings import AugmentSettings


@dataclass(frozen=True, eq=False)
class Batch:
    """A worker's share of one global batch.

    Attributes:
        frames: uint8 [b, T, S, S, 3], on the CPU.
        num_frames: int64 [b], frames before padding; None where no clip of the share is padded.
        labels: int64 [b].
        all_labels: int64 [B], labels of the global batch, in NumPy.
        counts: false for the stand-in that a worker gets where the last batch leaves it no clip.
    """

    frames: Tensor
    num_frames: Tensor | None
    labels: Tensor
    all_labels: np.ndarray
    counts: bool = True


def training_batches(
    clips: Clips,
    augment: AugmentSettings,
    batch: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """One epoch of training clips, shuffled, each batch made ready while the one before is used.

    A global batch is the same whatever the number of workers: worker `rank` gets every `world_size`-th clip
    of it. The last one holds what is left.

    Args:
        clips: the training clips; only read.
        augment: changes to draw.
        batch: clips of a global batch.
        seed, epoch: what the order and the changes follow from.
        rank, world_size: this worker's number, 0..world_size-1, and how many there are.
    """
    order = epoch_order(len(clips), seed, epoch)

    def make(start: int) -> Batch:
        members = order[start : start + batch]
        share = members[rank::world_size]
        counts = len(share) > 0
        if not counts:
            share = members[:1]
        frames = clips.frames[share]
        if not is_off(augment):
            for place, clip in enumerate(share):
                change = Change.drawn(augment, np.random.default_rng([seed, epoch, clip]))
                frames[place] = changed(frames[place], clips.num_frames[clip], change)
        return _batch(clips, share, frames, clips.emotion[members], counts)

    starts = range(0, len(clips), batch)
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as executor:
        ahead = executor.submit(make, starts[0])
        for start in starts[1:]:
            ready, ahead = ahead.result(), executor.submit(make, start)
            yield ready
        yield ahead.result()


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch takes its clips: int64 [count], a permutation of their positions."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def ordered_batches(clips: Clips, batch: int, rank: int = 0, world_size: int = 1) -> Iterator[tuple[np.ndarray, Batch]]:
    """This worker's clips (every `world_size`-th) in their order, with their positions in `clips`."""
    mine = np.arange(rank, len(clips), world_size)
    for start in range(0, len(mine), batch):
        share = mine[start : start + batch]
        yield share, _batch(clips, share, clips.frames[share], clips.emotion[share])


def _batch(clips: Clips, share: np.ndarray, frames: np.ndarray, all_labels: np.ndarray, counts: bool = True) -> Batch:
    num_frames = clips.num_frames[share]
    padded = (num_frames < frames.shape[1]).any()
    return Batch(
        frames=torch.from_numpy(frames),
        num_frames=torch.from_numpy(num_frames) if padded else None,
        labels=torch.from_numpy(clips.emotion[share]),
        all_labels=all_labels,
        counts=counts,
    )
