"""Changes to a training clip. All frames of a clip are changed alike, or its motion would be another."""

from dataclasses import dataclass

import numpy as np

from emotion_ray.settings import AugmentSettings


@dataclass(frozen=True)
class Change:
    """One change of a clip.

    Attributes:
        mirror: left to right.
        down, right: px by which the picture moves; the edge it leaves is repeated.
        later: frames by which the clip starts later (negative: earlier).
        gain: factor of brightness.
    """

    mirror: bool = False
    down: int = 0
    right: int = 0
    later: int = 0
    gain: float = 1.0

    @classmethod
    def drawn(cls, settings: AugmentSettings, rng: np.random.Generator) -> "Change":
        """A change drawn evenly from what the settings allow."""
        return cls(
            mirror=bool(rng.random() < settings.mirror),
            down=int(rng.integers(-settings.shift, settings.shift, endpoint=True)),
            right=int(rng.integers(-settings.shift, settings.shift, endpoint=True)),
            later=int(rng.integers(-settings.time_jitter, settings.time_jitter, endpoint=True)),
            gain=float(1 + settings.brightness * rng.uniform(-1, 1)),
        )


def changed(frames: np.ndarray, num_frames: int, change: Change) -> np.ndarray:
    """A clip after a change.

    Args:
        frames: uint8 [T, S, S, 3], `num_frames` of them real; not changed itself.
        num_frames: 1..T.
        change: what to do.

    Returns:
        uint8 [T, S, S, 3], of which the same number are real.
    """
    length, size = frames.shape[:2]
    times = np.arange(length)
    times[:num_frames] = np.clip(times[:num_frames] + change.later, 0, num_frames - 1)
    rows = np.clip(np.arange(size) - change.down, 0, size - 1)
    columns = np.clip(np.arange(size) - change.right, 0, size - 1)
    if change.mirror:
        columns = columns[::-1]
    moved = frames.take(times, 0).take(rows, 1).take(columns, 2)
    brightness = np.clip(np.rint(np.arange(256) * change.gain), 0, 255).astype(np.uint8)
    return brightness.take(moved)


def is_off(settings: AugmentSettings) -> bool:
    """Whether these settings change nothing."""
    return settings == AugmentSettings()
