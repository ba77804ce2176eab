"""Pictures with one or two real faces at a known seed: what a detector must cope with and ten clips don't show."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from emotion_ray.vision.video import Video

HEIGHT, WIDTH = 720, 1280
FRAMES_APART = 10


def first_frames(path: Path, count: int = 60) -> Iterator[np.ndarray]:
    """The first frames of a video, uint8 [H, W, 3] RGB."""
    with Video(path.read_bytes(), path.name) as video:
        yield from (frame.rgb for frame in islice(video.frames(), count))


def composites(paths: list[Path], count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """`count` pictures, uint8 [720, 1280, 3] RGB, the same for the same seed.

    Each shows one or two frames of the clips, scaled by 0.2 to 1 (as much in the logarithm everywhere), half of
    them mirrored, anywhere in the picture, even partly outside, upon grey, a blurred frame or noise.
    """
    pictures = [frame for path in paths for frame in islice(first_frames(path), 0, None, FRAMES_APART)]
    rng = np.random.default_rng(seed)
    for number in range(count):
        canvas = _background(rng, pictures, number % 3)
        for _ in range(1 + number % 2):
            _paste(rng, canvas, pictures[rng.integers(len(pictures))])
        yield canvas


def _background(rng: np.random.Generator, pictures: list[np.ndarray], kind: int) -> np.ndarray:
    if kind == 0:
        return np.full((HEIGHT, WIDTH, 3), rng.integers(256), np.uint8)
    if kind == 1:
        blurred = cv2.blur(pictures[rng.integers(len(pictures))], (101, 101))
        return cv2.resize(blurred, (WIDTH, HEIGHT))
    coarse = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def _paste(rng: np.random.Generator, canvas: np.ndarray, picture: np.ndarray) -> None:
    """Puts a scaled picture so that at least three quarters of either side lie within the canvas."""
    scale = np.exp(rng.uniform(np.log(0.2), 0))
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        small = small[:, ::-1]
    height, width = small.shape[:2]
    y = int(rng.integers(-height // 4, HEIGHT - height * 3 // 4))
    x = int(rng.integers(-width // 4, WIDTH - width * 3 // 4))
    top, left = max(-y, 0), max(-x, 0)
    seen = small[top : HEIGHT - y, left : WIDTH - x]
    canvas[y + top : y + top + seen.shape[0], x + left : x + left + seen.shape[1]] = seen
