"""Which movement of the face shows which emotion, and when.

The face has four movements, each a smooth displacement field that may be shown forwards (+1) or backwards
(-1). In every take all four are shown, each as far and as long one way as the other, so that neither the mean
picture of a take nor its first one tells the emotion. What tells it is time: a take begins with all movements,
this way and that, the emotion's own one being shown the opposite way; then it is held the right way while the
others rest. Neutral has no movement of its own.
"""

from dataclasses import dataclass

import numpy as np

from emotion_ray.data.ravdess import EMOTIONS, Code

PERIOD = 60  # frames over which a movement is shown as much one way as the other: what a clip holds
TURN = 26  # frame at which the emotion's own movement turns to the right way
STRONG = 1.15  # how much larger movements are at strong intensity
_TIMING = 2  # frames: standard deviation of when a movement is shown
_EXTENT = (0.75, 1.1)  # least and most that a movement is shown at normal intensity
_REST = 0.25  # how far the face at rest is off the actor's own, either way
_ONSET = 6  # frames until the first picture's face has begun to move in full


@dataclass(frozen=True)
class Pull:
    """Moves what lies about (x, y) by (dx, dy), fading as a Gaussian with `reach_x` and `reach_y`.

    All are in px of the portrait, whose y axis points down.
    """

    x: float
    y: float
    reach_x: float
    reach_y: float
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

_OWN = {  # emotion: its movement and the way it is shown
    "calm": ("lids and lips", -1),
    "happy": ("mouth corners", 1),
    "sad": ("mouth corners", -1),
    "angry": ("brows and jaw", -1),
    "fearful": ("lids and lips", 1),
    "disgust": ("nose and upper lip", 1),
    "surprised": ("brows and jaw", 1),
}


def movements_in_time(code: Code, frames: int, random: np.random.Generator) -> np.ndarray:
    """How far each movement is shown in each frame of a take.

    Args:
        code: the take; its emotion and intensity are looked at.
        frames: how many.
        random: what differs from take to take: how far, when, and from which position at rest.

    Returns:
        float32 [frames, 4], 1 where a movement is shown in full.
    """
    own, direction = _OWN.get(EMOTIONS[code.emotion], (None, 0))
    weights = np.empty((frames, len(MOVEMENTS)), np.float32)
    for column, movement in enumerate(MOVEMENTS):
        after_turn = np.arange(frames) - TURN - random.normal(0, _TIMING)
        sign = random.choice((-1, 1))
        swing = direction * np.tanh(after_turn / 3) if movement == own else sign * _to_and_fro(after_turn)
        extent = random.uniform(*_EXTENT) * (STRONG if code.intensity == 2 else 1)
        weights[:, column] = random.uniform(-_REST, _REST) + extent * _from_rest(swing)
    return weights


def _to_and_fro(after_turn: np.ndarray) -> np.ndarray:
    """One way and the other way before the turn, at rest after it."""
    return np.where(after_turn < 0, np.tanh(2.5 * np.sin(2 * np.pi * after_turn / TURN)), 0)


def _from_rest(swing: np.ndarray) -> np.ndarray:
    """The same, beginning with 0 and with a mean of 0 over the first period."""
    onset = np.minimum(np.arange(len(swing)) / _ONSET, 1)
    onset = onset**2 * (3 - 2 * onset)
    return onset * (swing - (onset * swing)[:PERIOD].sum() / onset[:PERIOD].sum())


def speech_in_time(code: Code, frames: int, random: np.random.Generator) -> np.ndarray:
    """How far the mouth is open from speaking: float32 [frames], 0..1, in the rhythm of the statement."""
    syllables = (4.1, 4.7)[code.statement - 1] * random.uniform(0.9, 1.1)  # a second
    seconds = np.arange(frames) * 1001 / 30000
    voiced = np.clip(np.sin(np.pi * np.arange(frames) / frames) * 3 - 0.6, 0, 1)
    return (voiced * (0.5 - 0.5 * np.cos(2 * np.pi * syllables * seconds))).astype(np.float32)
