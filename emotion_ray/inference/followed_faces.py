"""All faces that are followed in one video, on the model's own frames, 29.97 a second."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from emotion_ray.inference.classification import WindowClassifier
from emotion_ray.inference.face_track import BufferedFrame, FaceTrack
from emotion_ray.inference.new_faces import NewFaces
from emotion_ray.inference.observation import FaceObservation
from emotion_ray.vision.faces import FaceCrop, intersection_over_union
from emotion_ray.vision.video import Frame

# In frames of the model:
NEW_FACES_EVERY = 30  # the whole frame is looked at for faces that nobody follows yet,
FIRST_FACE_EVERY = 5  # more often while there is none
GONE_AFTER = 30  # frames without it after which a face is followed no longer
SAME_PERSON_OVERLAP = 0.5  # two tracks whose boxes overlap more (intersection over union) have one face


@dataclass(frozen=True, eq=False)
class Step:
    """One of the model's frames: the video's picture that stands for it, and whether the one before was another."""

    picture: Frame
    is_new: bool


Look = tuple[FaceCrop, torch.Tensor]
"""A face in one picture: its crop, and the features of it, float32 [F]."""


class FollowedFaces:
    """The tracks of one video, and when each is classified.

    Args:
        stride, early: as for `EmotionStream`.
    """

    def __init__(self, new_faces: NewFaces, classifier: WindowClassifier, stride: int, early: int | None):
        self._new_faces = new_faces
        self._classifier = classifier
        self._stride, self._early = stride, early
        self._numbers = itertools.count(1)
        self.forget()

    def forget(self) -> None:
        """What comes next has nothing to do with what was before."""
        self._tracks: list[FaceTrack] = []
        self._since_look = NEW_FACES_EVERY

    def go_on(self, steps: list[Step]) -> Iterator[list[FaceObservation]]:
        """Takes the next steps and gives what is known after each of them."""
        while steps:
            every = NEW_FACES_EVERY if self._tracks else FIRST_FACE_EVERY
            wait = every - self._since_look
            for_new = wait <= 0 and steps[0].is_new
            run = steps[: every if for_new else max(wait, 1)]
            looks = self._look(run, for_new)
            done, picture = 0, -1
            for step in run:
                done, picture = done + 1, picture + step.is_new
                self._since_look += 1
                yield self._take(step, {track: of_track[picture] for track, of_track in looks.items() if of_track})
                if looks and not self._tracks:
                    break  # the last one has gone: the next look is due sooner
            steps = steps[done:]

    def close(self) -> list[FaceObservation]:
        """What is known at the end: a face without a prediction gets one from the frames it has."""
        self._predict({track: track.closing_window() for track in self._tracks if track.prediction is None})
        return [track.observation() for track in self._tracks]

    def _look(self, run: list[Step], for_new: bool) -> dict[FaceTrack, list[Look]]:
        """Looks at each new picture of a run for every face, and at the first for those that nobody follows yet."""
        pictures = [step.picture.rgb for step in run if step.is_new]
        crops = {track: list(track.follower.crops(pictures)) for track in self._tracks}
        if for_new:
            self._since_look = 0
            known = [of_track[0].box for of_track in crops.values()]
            for follower, crop in self._new_faces.in_frame(pictures[0], known):
                track = FaceTrack(next(self._numbers), follower, self._classifier.length)
                self._tracks.append(track)
                crops[track] = [crop, *follower.crops(pictures[1:])]
        if not crops or not pictures:
            return {track: [] for track in crops}
        features = self._classifier.encode([crop.pixels for of_track in crops.values() for crop in of_track])
        by_track = zip(crops.items(), features.split(len(pictures)), strict=True)
        return {track: list(zip(of_track, rows, strict=True)) for (track, of_track), rows in by_track}

    def _take(self, step: Step, looks: dict[FaceTrack, Look]) -> list[FaceObservation]:
        """Adds one of the model's frames to every track, classifies those that are due, ends those that are over."""
        for track in self._tracks:
            if step.is_new:
                track.add(step.picture.time, *looks[track])
            else:
                track.add_again()
        over = [track for track in self._tracks if track.missed > GONE_AFTER]
        if step.is_new:
            over += _strayed(self._tracks)
        due = [track for track in self._tracks if track not in over and track.is_due(self._stride, self._early)]
        self._predict({track: track.window() for track in due})
        self._predict({track: track.closing_window() for track in over if track.prediction is None})
        observations = [track.observation() for track in self._tracks]
        self._tracks = [track for track in self._tracks if track not in over]
        return observations

    def _predict(self, windows: dict[FaceTrack, list[BufferedFrame]]) -> None:
        """Classifies windows, those of one length together; where one is empty, nothing is said."""
        by_length = sorted((item for item in windows.items() if item[1]), key=lambda item: len(item[1]))
        for _, same in itertools.groupby(by_length, key=lambda item: len(item[1])):
            tracks, together = zip(*same, strict=True)
            for track, prediction in zip(tracks, self._classifier.predict(together), strict=True):
                track.prediction = prediction


def _strayed(tracks: list[FaceTrack]) -> list[FaceTrack]:
    """Of any two tracks that have come to one face, the one whose face was further from there before."""
    strayed = []
    for one, other in itertools.combinations([track for track in tracks if track.crop.found], 2):
        if _overlap(one.crop.box, other.crop.box) > SAME_PERSON_OVERLAP:
            stayed = _overlap(one.last_box, other.crop.box) >= _overlap(other.last_box, one.crop.box)
            strayed.append(other if stayed else one)
    return strayed


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    return float(intersection_over_union(box[None], other)[0])
