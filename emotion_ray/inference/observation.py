"""What the engine says of a frame: whose faces are in it, where, and what they express."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one face expresses in a window of frames.

    Attributes:
        time: seconds, of the newest frame in the window.
        probabilities: float32 [C], summing to 1, in the order of `labels`.
        labels: the C names of the model's classes.
        frames: frames in the window, at most the model's T.
        early: whether they are fewer than T: an estimate, of a window that training rarely saw.
        attention: float32 [frames], the attention that each frame gets, summing to 1; of the attention model only.
    """

    time: float
    probabilities: np.ndarray
    labels: tuple[str, ...]
    frames: int
    early: bool = False
    attention: np.ndarray | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[int(self.probabilities.argmax())]


@dataclass(frozen=True, eq=False)
class FaceObservation:
    """One person's face in one frame.

    Attributes:
        track: number of the person's face, from 1, the same for as long as it is followed, never given twice.
        box: float32 [4] px of the frame, x0 y0 x1 y1, may pass its edge; the last one where no face was found.
        prob: the detector's probability in 0..1, 0 where it found none.
        found: whether the face was detected in the last frame that was looked at.
        buffered: frames in its window so far, 0..T.
        prediction: the newest one of this face, held until the next.
    """

    track: int
    box: np.ndarray
    prob: float
    found: bool
    buffered: int
    prediction: Prediction | None = None


@dataclass(frozen=True, eq=False)
class Observation:
    """What is known after one frame, at `time` in seconds, as it was pushed; faces by track number."""

    time: float
    faces: list[FaceObservation]


def newest(seen: list[list[FaceObservation]]) -> list[FaceObservation]:
    """What was said last of each face: one may have ended at a step before the last."""
    return list({face.track: face for faces in seen for face in faces}.values())
