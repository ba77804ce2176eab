"""Faces in a frame that nobody follows yet, and a follower for each."""

from typing import Literal

import numpy as np

from emotion_ray.vision.areas import SummedAreas, Window
from emotion_ray.vision.faces import (
    SAME_FACE_OVERLAP,
    FaceCrop,
    FaceFollower,
    intersection_over_union,
    memory_for_tables,
)
from emotion_ray.vision.mtcnn import MTCNN, Faces, pyramid
from emotion_ray.vision.search import min_face

# A face beside the largest one is taken for one from this probability on, and looked for from this part of the
# frame's shorter side on: 60 px of 720. The pyramid down to 20 px takes three times as long.
SURE_PROB = 0.9
SMALLEST_BESIDE = 1 / 12
NEVER = float("inf")


class NewFaces:
    """Looks at whole frames and makes followers.

    The first face is found as `FaceFollower` finds that of a training clip. A follower never turns to another
    person's face, as it would for a clip: that is a track of its own.

    Args:
        size: height and width of a crop in px.
        max_faces: faces followed at a time.
    """

    def __init__(self, mtcnn: MTCNN, detector: Literal["track", "exact"], size: int, max_faces: int):
        self._mtcnn = mtcnn
        self._detector = detector
        self._size = size
        self._max_faces = 1 if detector == "exact" else max_faces
        self._tables_memory = memory_for_tables()  # one for all followers, which work in turn

    def in_frame(self, rgb: np.ndarray, known: list[np.ndarray]) -> list[tuple[FaceFollower, FaceCrop]]:
        """The faces of a frame, uint8 [H, W, 3], that are not at the `known` boxes, float32 [4] px each.

        Returns:
            a follower that has seen this frame, and its crop of it, for each; the larger faces first.
        """
        new: list[tuple[FaceFollower, FaceCrop]] = []
        if not known:
            new += self._followed(rgb, None)
            if not new:
                return []
        if len(known) + len(new) >= self._max_faces:
            return new
        faces = self._all_faces(rgb)
        sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
        for index in np.argsort(-sides.prod(axis=1), kind="stable"):
            taken = [*known, *(crop.box for _, crop in new)]
            if len(taken) >= self._max_faces:
                break
            if faces.probs[index] >= SURE_PROB and not _is_among(faces.boxes[index], taken):
                new += self._followed(rgb, faces.boxes[index])
        return new

    def _all_faces(self, rgb: np.ndarray) -> Faces:
        height, width = rgb.shape[:2]
        skip = 0
        while min_face(skip + 1) <= SMALLEST_BESIDE * min(height, width):
            skip += 1
        areas = SummedAreas([rgb], Window.whole(height, width), self._tables_memory)
        return self._mtcnn.detect(areas, pyramid(height, width, skip))[0]

    def _followed(self, rgb: np.ndarray, box: np.ndarray | None) -> list[tuple[FaceFollower, FaceCrop]]:
        """A follower of the face at a box, or of the largest face; none if it does not find it."""
        follower = FaceFollower(self._mtcnn, self._detector, self._size, box, NEVER, self._tables_memory)
        return [(follower, crop) for crop in follower.crops([rgb]) if crop.found]


def _is_among(box: np.ndarray, boxes: list[np.ndarray]) -> bool:
    """Whether a box overlaps one of some boxes, or has its centre within one."""
    if not boxes:
        return False
    others = np.stack(boxes)
    centre = (box[:2] + box[2:]) / 2
    within = (others[:, :2] <= centre).all(axis=1) & (centre <= others[:, 2:]).all(axis=1)
    return bool((within | (intersection_over_union(others, box) >= SAME_FACE_OVERLAP)).any())
