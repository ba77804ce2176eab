"""The engine: frames with times go in, one by one or many at a time, and what each face expresses comes out."""

import itertools
from collections.abc import Iterator
from typing import Literal

import numpy as np

from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.classification import WindowClassifier
from emotion_ray.inference.followed_faces import FollowedFaces, Step
from emotion_ray.inference.new_faces import NewFaces
from emotion_ray.inference.observation import FaceObservation, Observation, Prediction, newest
from emotion_ray.models.store import LoadedModel
from emotion_ray.vision.mtcnn import MTCNN
from emotion_ray.vision.sampling import NearestInTime
from emotion_ray.vision.video import RATE, Frame

__all__ = ["EmotionStream", "FaceObservation", "Observation", "Prediction"]

PAUSE_S = 2.0  # without frames, a window long; then all begins anew


class EmotionStream:
    """Follows the faces of one video and classifies the last T frames of each.

    The model's frames are taken at 29.97 a second by time, as in training, whatever the rate of what is pushed: a
    picture may stand for several of them, or for none, and is looked at once at most. Faces are found, followed
    and cropped by the code that makes the training clips. How many frames are pushed at a time changes the speed,
    not the result. Memory is bounded by `max_faces`, not by the length of the video.

    Attributes:
        labels: names of the model's C classes.
        length: T, frames that the model takes.

    Args:
        mtcnn: the face detector; streams may share it.
        model: the classifier; streams may share it.
        stride: of the model's frames, from one prediction of a face to the next.
        early: frames from which on a face gets estimates before it has T; None: it gets none before.
        max_faces: faces followed at a time; the larger ones come first.
        detector: "track" follows each face; "exact" takes facenet-pytorch's largest face of each frame, as if it
            were the only one.

    Raises:
        EmotionRayError: a number out of range.
    """

    def __init__(
        self,
        mtcnn: MTCNN,
        model: LoadedModel,
        stride: int = 10,
        early: int | None = None,
        max_faces: int = 8,
        detector: Literal["track", "exact"] = "track",
    ):
        for name, value in (("stride", stride), ("early", early), ("max_faces", max_faces)):
            if value is not None and value < 1:
                raise EmotionRayError(f"{name} is {value!r}: give a whole number from 1")
        classifier = WindowClassifier(model)
        new_faces = NewFaces(mtcnn, detector, classifier.size, max_faces)
        self.labels, self.length = model.record.labels, classifier.length
        self._faces = FollowedFaces(new_faces, classifier, stride, early)
        self._last: Frame | None = None
        self._begin(0.0)

    def push(self, frames: list[np.ndarray], times: list[float]) -> list[Observation]:
        """The next frames of the video: what is known after each.

        After a pause of more than two seconds, or where the size changes, all faces are new ones.

        Args:
            frames: uint8 [H, W, 3] RGB, not to be changed afterwards: some are looked at later.
            times: seconds from any beginning, ascending.

        Raises:
            EmotionRayError: frames of another form, or times that run back.
        """
        observations: list[Observation] = []
        together: list[Frame] = []
        for time, rgb in zip(times, frames, strict=True):
            picture = Frame(float(time), rgb)
            if self._is_another_video(picture):
                observations += self._go_on(together)
                together = []
                self._begin(picture.time)
            together.append(picture)
            self._last = picture
        return observations + self._go_on(together)

    def finish(self, fps: float = float(RATE)) -> Observation | None:
        """Ends the video, whose last frame was shown for 1 / `fps` seconds: what is known then.

        A face that has no prediction yet gets an early one from the frames it has. What is pushed after this is
        another video. None where nothing was pushed.
        """
        if self._last is None:
            return None
        rest = self._nearest.rest(min(0.5 / fps, PAUSE_S))
        told = [*self._faces.go_on(self._steps(rest)), self._faces.close()]
        last = Observation(self._last.time, newest(told))
        self._last = None
        return last

    def _is_another_video(self, picture: Frame) -> bool:
        """Checks a picture; whether it is the first of all that was pushed or does not go on from the last one."""
        form = getattr(picture.rgb, "shape", None), getattr(picture.rgb, "dtype", None)
        if form[1] != np.uint8 or len(form[0]) != 3 or form[0][2] != 3 or 0 in form[0]:
            raise EmotionRayError(f"a frame is {form[1]} {form[0]}: push uint8 [H, W, 3] RGB")
        if self._last is None:
            return True
        if not picture.time >= self._last.time:
            raise EmotionRayError(f"a frame at {picture.time} s follows one at {self._last.time} s: push them in order")
        return picture.time - self._last.time > PAUSE_S or picture.rgb.shape != self._last.rgb.shape

    def _begin(self, time: float) -> None:
        """All that comes is new; the first of the model's frames is at `time`."""
        self._faces.forget()
        self._start = time
        self._nearest: NearestInTime[Frame] = NearestInTime(k / float(RATE) for k in itertools.count())
        self._newest: Frame | None = None  # of those that stand for one of the model's frames
        self._seen: list[FaceObservation] = []

    def _go_on(self, pictures: list[Frame]) -> list[Observation]:
        """Pictures without a pause between them: what is known after each."""
        steps, ends = [], []  # the model's frames that are known after each picture
        for picture in pictures:
            steps += self._steps(self._nearest.take(picture.time - self._start, picture))
            ends.append(len(steps))
        seen_after = [self._seen, *self._faces.go_on(steps)]
        self._seen = seen_after[-1]
        observations, begin = [], 0
        for picture, end in zip(pictures, ends, strict=True):
            during = seen_after[begin + 1 : end + 1] or [seen_after[end]]
            observations.append(Observation(picture.time, newest(during)))
            begin = end
        return observations

    def _steps(self, nearest: Iterator[tuple[float, Frame]]) -> list[Step]:
        steps = []
        for _, picture in nearest:
            steps.append(Step(picture, picture is not self._newest))
            self._newest = picture
        return steps
