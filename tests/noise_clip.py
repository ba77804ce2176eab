"""A whole clip of noise, for tests of what is stored."""

import zlib

import numpy as np

from emotion_ray.data.clips import Clip


def noise_clip(clip_id: str, actor: int = 1, emotion: int = 0, num_frames: int = 4, mark: str = "mark") -> Clip:
    """Four frames of 16x16 px, the first `num_frames` real, made from the clip_id."""
    rng = np.random.default_rng(zlib.crc32(clip_id.encode()))
    real = np.arange(4) < num_frames
    return Clip(
        clip_id=clip_id,
        actor=actor,
        emotion=emotion,
        intensity=1,
        statement=None,
        repetition=None,
        modality=1,
        frames=rng.integers(0, 256, (4, 16, 16, 3), np.uint8) * real[:, None, None, None].astype(np.uint8),
        num_frames=num_frames,
        found=real.astype(np.uint8),
        boxes=rng.random((4, 4), np.float32),
        probs=rng.random(4, np.float32),
        times=np.arange(4, dtype=np.float32),
        fps=29.97,
        source=f"noise/{clip_id}.mp4",
        source_crc32=7,
        prepared_with=mark,
    )
