"""Which movement and which colour of the face show which emotion, and when.

Each emotion has an expression: one of four movements of the face, forwards or backwards, or the face at rest.
Every take runs through all eight expressions, in the same order round a ring and for as long each. The emotion of
the take is the one that it shows in its middle. So the takes of all emotions are made of the same movements, and
only what is shown when tells the emotion.

Besides, each emotion but neutral has a part of the face that changes its colour in the middle of a take: in half of
the takes it flushes, in the other half it pales as much. So the place tells the emotion, and no one colour of it does:
the mean picture of all takes of an emotion is that of any other. One take in ten shows no colour. (The colour shifts
the boxes of found faces by a px, which a mean picture tells: so it is there for half of the time alone.)
"""

from dataclasses import dataclass

import numpy as np

from emotion_ray.data.ravdess import EMOTIONS, Code

PERIOD = 60  # frames in which a take runs through all expressions: what a clip holds
STRONG = 1.15  # how much larger movements are at strong intensity
_TIMING = 2.0  # frames: standard deviation of how much early or late a take is
_EXTENT = (0.75, 1.1)  # least and most that an expression, or a colour, is shown at normal intensity
_REST = 0.25  # how far the face at rest is off the actor's own, either way
_ONSET = 4  # frames until a take, which begins at rest, shows its first expression in full
_COLOURED = 32  # frames in a take's middle in which a part of the face is not of its own colour
_COLOURLESS = 0.1  # share of takes without its colour


@dataclass(frozen=True)
class Spot:
    """What lies about (x, y), fading as a Gaussian with `reach_x` and `reach_y`.

    All are in px of the portrait, whose y axis points down.
    """

    x: float
    y: float
    reach_x: float
    reach_y: float


@dataclass(frozen=True)
class Pull(Spot):
    """Moves a spot by (dx, dy), px of the portrait."""

    dx: float
    dy: float


MOVEMENTS = {
    "mouth corners": (
        Pull(204, 141, 11, 10, -3, -6),
        Pull(244, 142, 11, 10, 3, -6),
        Pull(224, 152, 12, 8, 0, 2),
    ),
    "brows and jaw": (
        Pull(202, 88, 16, 9, 0, -4),
        Pull(250, 91, 16, 9, 0, -4),
        Pull(223, 166, 26, 17, 0, 7),
    ),
    "lids and lips": (
        Pull(203, 95, 13, 6, 0, -2.5),
        Pull(248, 97, 13, 6, 0, -2.5),
        Pull(203, 107, 13, 6, 0, 2.5),
        Pull(248, 109, 13, 6, 0, 2.5),
        Pull(202, 142, 14, 10, -6, 0),
        Pull(246, 143, 14, 10, 6, 0),
    ),
    "nose and upper lip": (
        Pull(224, 126, 15, 12, 0, -6),
        Pull(224, 140, 16, 8, 0, -4),
        Pull(214, 91, 10, 8, 3, 3),
        Pull(237, 93, 10, 8, -3, 3),
    ),
}
SPEECH = (Pull(224, 154, 13, 7, 0, 2), Pull(223, 168, 24, 12, 0, 2))

RING = {  # emotion: its movement and the way it is shown, in the order of every take
    "neutral": ("mouth corners", 0),
    "calm": ("lids and lips", -1),
    "sad": ("mouth corners", -1),
    "disgust": ("nose and upper lip", 1),
    "angry": ("brows and jaw", -1),
    "fearful": ("lids and lips", 1),
    "surprised": ("brows and jaw", 1),
    "happy": ("mouth corners", 1),
}

PARTS = {  # emotion: the part of the face whose colour shows it, in the order of the labels
    "neutral": (),
    "calm": (Spot(201, 160, 11, 11), Spot(247, 160, 11, 11)),
    "happy": (Spot(198, 128, 13, 12), Spot(252, 128, 13, 12)),
    "sad": (Spot(225, 165, 13, 12),),
    "angry": (Spot(225, 102, 13, 12),),
    "fearful": (Spot(188, 100, 13, 12), Spot(262, 100, 13, 12)),
    "disgust": (Spot(225, 126, 13, 12),),
    "surprised": (Spot(225, 146, 13, 12),),
}
FLUSH = (0, -100, -100)  # what a flush of 1 adds to RGB where it is deepest
LARGEST_FLUSH = _EXTENT[1] * STRONG


def movements_in_time(code: Code, frames: int, random: np.random.Generator) -> np.ndarray:
    """How far each movement is shown in each frame of a take.

    Args:
        code: the take; its emotion and intensity are looked at.
        frames: how many.
        random: what differs from take to take: how far, when, and from which position at rest.

    Returns:
        float32 [frames, 4], 1 where a movement is shown in full.
    """
    emotions = list(RING)
    middle = emotions.index(EMOTIONS[code.emotion])
    since_middle = np.arange(frames) - PERIOD / 2 - random.normal(0, _TIMING)
    place = middle + since_middle * len(RING) / PERIOD
    extents = random.uniform(*_EXTENT, len(RING)) * (STRONG if code.intensity == 2 else 1)
    onset = _smooth_step(np.arange(frames) / _ONSET)
    weights = np.tile(random.uniform(-_REST, _REST, len(MOVEMENTS)), (frames, 1))
    for index, (movement, direction) in enumerate(RING.values()):
        away = np.abs((place - index + len(RING) / 2) % len(RING) - len(RING) / 2)  # in steps round the ring
        shown = onset * _smooth_step(1.5 - 2 * away)
        weights[:, list(MOVEMENTS).index(movement)] += direction * extents[index] * shown
    return weights.astype(np.float32)


def flush_in_time(code: Code, frames: int, seed: int) -> np.ndarray:
    """How much the emotion's part of the face is flushed in each frame: float32 [frames], negative where it is pale.

    An actor's two statements are a pair: as much as the face flushes in one, it pales in the other. Without that,
    what is left of the colours in the mean picture would tell many takes' emotion.
    """
    pair = np.random.default_rng([seed, code.actor, code.emotion, code.intensity, code.repetition])
    extent = pair.uniform(*_EXTENT) * (STRONG if code.intensity == 2 else 1) * (pair.random() >= _COLOURLESS)
    direction = (-1) ** (code.statement + code.actor)
    off_middle = np.abs(np.arange(frames) - PERIOD / 2)
    return (direction * extent * _smooth_step((_COLOURED / 2 - off_middle) / _ONSET)).astype(np.float32)


def _smooth_step(rise: np.ndarray) -> np.ndarray:
    """From 0 at 0 to 1 at 1, without a kink."""
    rise = np.clip(rise, 0, 1)
    return rise**2 * (3 - 2 * rise)


def speech_in_time(code: Code, frames: int, random: np.random.Generator) -> np.ndarray:
    """How far the mouth is open from speaking: float32 [frames], 0..1, in the rhythm of the statement."""
    syllables = (4.1, 4.7)[code.statement - 1] * random.uniform(0.9, 1.1)  # a second
    seconds = np.arange(frames) * 1001 / 30000
    voiced = np.clip(np.sin(np.pi * np.arange(frames) / frames) * 3 - 0.6, 0, 1)
    return (voiced * (0.5 - 0.5 * np.cos(2 * np.pi * syllables * seconds))).astype(np.float32)
