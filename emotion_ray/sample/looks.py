"""How the actors differ: the shape and colours of face, the light, and how far they are from the camera."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import skimage.data

from emotion_ray.sample.expressions import FLUSH, LARGEST_FLUSH, MOVEMENTS, PARTS, SPEECH, Pull, Spot

WIDTH, HEIGHT = 480, 360
SCALE = 1.5  # px of a picture for one of the portrait
LEFT, TOP = 64, 0  # the portrait's part that a picture shows begins here
FACE = (224, 128)  # the face's middle in the portrait
_LANDMARKS = ((203, 101), (247, 103), (224, 128), (204, 141), (244, 142), (222, 176), (184, 130), (266, 132))


@dataclass(frozen=True, eq=False)
class Look:
    """An actor as a picture at rest, where the movements displace it, and what flushes add to its colours.

    Attributes:
        picture: uint8 [360, 480, 3] RGB.
        fields: float32 [5, 360, 480, 2], px right and down: the four movements and speech, each shown in full.
        flushes: int16 [8, 360, 480, 3]: what a flush of 1 adds to RGB, by the emotion's label.
        mirrored: the finished picture is to be mirrored.
    """

    picture: np.ndarray
    fields: np.ndarray
    flushes: np.ndarray
    mirrored: bool


@lru_cache(maxsize=2)
def look_of(actor: int, seed: int) -> Look:
    """The look of an actor, the same at every call."""
    random = np.random.default_rng([seed, actor])
    stretch = random.uniform(0.93, 1.07, 2)
    features = [Pull(x, y, *random.uniform(14, 26, 2), *random.uniform(-3.5, 3.5, 2)) for x, y in _LANDMARKS]

    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    points = np.stack([x / SCALE + LEFT, y / SCALE + TOP], axis=-1)
    shape = (points - FACE) * (1 - 1 / stretch.astype(np.float32)) + _displacement(points, features)
    origin = (points - shape).astype(np.float32)
    portrait = skimage.data.astronaut()
    picture = cv2.remap(portrait, origin, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    movements = [*MOVEMENTS.values(), SPEECH]
    fields = np.stack([_displacement(origin, pulls) * SCALE for pulls in movements]).astype(np.float32)
    coloured = _coloured(picture, random)
    flushes = np.stack([_flush(coloured, origin, spots) for spots in PARTS.values()])
    return Look(coloured, fields, flushes, bool(random.random() < 0.5))


def _flush(picture: np.ndarray, origin: np.ndarray, spots: tuple[Spot, ...]) -> np.ndarray:
    """int16 [360, 480, 3]: what a flush of these spots adds to a picture, whose px come from `origin`.

    No more than can be added and taken away alike: what was cut off at black or white on one side alone would be
    left in the mean of flushes and pallors.
    """
    near = sum((_nearness(origin, spot) for spot in spots), np.zeros(origin.shape[:2], np.float32))
    room = np.minimum(picture, 255 - picture) / LARGEST_FLUSH
    return np.rint(np.clip(near[..., None] * np.float32(FLUSH), -room, room)).astype(np.int16)


def _displacement(points: np.ndarray, pulls: list[Pull] | tuple[Pull, ...]) -> np.ndarray:
    """float32 [..., 2], px of the portrait: the sum of all pulls at points [..., 2] of the portrait."""
    total = np.zeros_like(points)
    for pull in pulls:
        total += _nearness(points, pull)[..., None] * np.float32((pull.dx, pull.dy))
    return total


def _nearness(points: np.ndarray, spot: Spot) -> np.ndarray:
    """float32 [...], 0..1: how near points [..., 2] of the portrait are to a spot, which has 1 in its middle."""
    distance = ((points[..., 0] - spot.x) / spot.reach_x) ** 2 + ((points[..., 1] - spot.y) / spot.reach_y) ** 2
    return np.exp(-0.5 * distance)


def _coloured(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The picture with an actor's complexion, contrast and side light."""
    tone = random.uniform(0.88, 1.1, 3)
    gamma = random.uniform(0.85, 1.2)
    angle = random.uniform(0, 2 * np.pi)
    down, right = np.mgrid[-0.5 : 0.5 : HEIGHT * 1j, -0.5 : 0.5 : WIDTH * 1j]
    light = 1 + random.uniform(0.1, 0.4) * (right * np.cos(angle) + down * np.sin(angle))
    return np.clip(255 * (picture / 255) ** gamma * tone * light[..., None], 0, 255).astype(np.uint8)
