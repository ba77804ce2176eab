"""Clips of noise, for tests that ask for numbers and not for faces."""

import numpy as np

from emotion_ray.data.clips import Clips


def random_clips(count: int, frames: int = 6, size: int = 16, seed: int = 0, padded: bool = False) -> Clips:
    """Clips of four actors whose labels go round; with `padded`, each has a number of frames of its own."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (count, frames, size, size, 3), np.uint8)
    num_frames = rng.integers(1, frames, count, endpoint=True) if padded else np.full(count, frames)
    for clip, real in zip(pictures, num_frames, strict=True):
        clip[real:] = 0
    return Clips(
        clip_id=[f"clip-{number:03d}" for number in range(count)],
        actor=np.arange(count) // 8 % 4 + 1,
        emotion=np.arange(count) % 8,
        frames=pictures,
        num_frames=num_frames,
        found=np.ones((count, frames), np.uint8),
        prepared_with=frozenset({"noise"}),
    )
