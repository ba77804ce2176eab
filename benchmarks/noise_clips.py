"""Clips of noise, for timings: how long a training step takes does not depend on what is in its clips."""

import numpy as np

from emotion_ray.data.clips import Clips


def noise_clips(count: int, frames: int, size: int) -> Clips:
    """Clips of `frames` frames of `size` x `size` px, none of them padded, whose labels go round; always the same."""
    return Clips(
        clip_id=[str(number) for number in range(count)],
        actor=np.zeros(count, np.int64),
        emotion=np.arange(count) % 8,
        frames=np.random.default_rng(0).integers(0, 256, (count, frames, size, size, 3), np.uint8),
        num_frames=np.full(count, frames),
        found=np.ones((count, frames), np.uint8),
        prepared_with=frozenset(),
    )
