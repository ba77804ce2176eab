"""One person's face through time: where it is, and what the model has made of its last T frames."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from emotion_ray.inference.observation import FaceObservation, Prediction
from emotion_ray.vision.faces import FaceCrop, FaceFollower

FEWEST_FOUND = 0.5  # part of a window's frames that show the face; with less, training takes no clip


@dataclass(frozen=True, eq=False)
class BufferedFrame:
    """One frame of a window: its time in seconds, whether the face was found in it, and its features, float32 [F]."""

    time: float
    found: bool
    features: torch.Tensor


class FaceTrack:
    """A face that is followed, and the window of its last T frames.

    Attributes:
        number: of the track.
        follower: finds and crops the face; pictures go through it in order.
        crop: the face in the newest picture.
        last_box: the box in the picture before, float32 [4] px; at first the same.
        missed: frames since the face was last found.
        prediction: the newest one.

    Args:
        length: T.
    """

    def __init__(self, number: int, follower: FaceFollower, length: int):
        self.number = number
        self.follower = follower
        self.crop: FaceCrop | None = None
        self.last_box: np.ndarray | None = None
        self.missed = 0
        self.prediction: Prediction | None = None
        self._length = length
        self._window: deque[BufferedFrame] = deque(maxlen=length)
        self._count = 0  # frames so far, those that have left the window too

    def add(self, time: float, crop: FaceCrop, features: torch.Tensor) -> None:
        """The face in the next picture, at a time in seconds, and the crop's features, float32 [F]."""
        self.last_box = crop.box if self.crop is None else self.crop.box
        self.crop = crop
        self._append(BufferedFrame(time, crop.found, features))

    def add_again(self) -> None:
        """The newest picture stands for one more of the model's frames."""
        self._append(self._window[-1])

    def _append(self, frame: BufferedFrame) -> None:
        self._window.append(frame)
        self._count += 1
        self.missed = 0 if frame.found else self.missed + 1

    def is_due(self, stride: int, early: int | None) -> bool:
        """Whether to classify it now: at T frames and each `stride` after that, or already from `early` on."""
        begin = self._length if early is None or self._count >= self._length else early
        return self._count >= begin and (self._count - begin) % stride == 0

    def window(self) -> list[BufferedFrame]:
        """The last T frames, or as many as there are; none if too few of them show the face."""
        return _if_seen(list(self._window))

    def closing_window(self) -> list[BufferedFrame]:
        """The same up to the frame in which the face was last found."""
        return _if_seen(list(self._window)[: max(len(self._window) - self.missed, 0)])

    def observation(self) -> FaceObservation:
        box = np.array(self.crop.box, np.float32)
        return FaceObservation(self.number, box, self.crop.prob, self.crop.found, len(self._window), self.prediction)


def _if_seen(frames: list[BufferedFrame]) -> list[BufferedFrame]:
    return frames if sum(frame.found for frame in frames) >= FEWEST_FOUND * len(frames) else []
