"""All faces of a frame, or its largest: which levels of the pyramid have to be looked at to be sure of it."""

from typing import Literal

import numpy as np

from emotion_ray.vision.areas import SummedAreas, Window
from emotion_ray.vision.mtcnn import MIN_FACE, MTCNN, PYRAMID_FACTOR, Faces, pyramid

# A face whose longer side is this many times the smallest one looked for comes out the same from all finer
# pyramids: what their further levels propose is too small to stand in its way. On real clips, scaled, one at 1.5
# times differs in a fifth of the frames, the largest that was seen to differ is one at 2.1 times.
CLEAR_OF_PYRAMID = 2.4
# A smaller face within it that scores higher does: of two such the original keeps the one that scores higher. So a
# face that scores less than this (one frame in 300 of RAVDESS and CREMA-D) is looked at again with all levels.
CLEAR_PROB = 0.999
FIRST_SKIP = 5  # the finest pyramid levels that a first look does without: it sees faces from 111 px


def find_faces(
    mtcnn: MTCNN, frames: list[np.ndarray], faces: Literal["largest", "all"] = "all", side: float = 0.0
) -> list[Faces]:
    """The faces in each of some frames of one size, as facenet-pytorch's `MTCNN().detect` finds them.

    Args:
        frames: uint8 [H, W, 3] RGB.
        faces: "all" runs the full pyramid; "largest" promises the largest face only, from a shorter one.
        side: the longer side in px of the face to expect; 0 for unknown. It changes the speed, not the result.

    Returns:
        a `Faces` for each frame, empty where there is none.
    """
    return [faces for _, faces in search(mtcnn, frames, 0 if faces == "all" else skip_for(side))]


def search(
    mtcnn: MTCNN, frames: list[np.ndarray], skip: int, memory: np.ndarray | None = None
) -> list[tuple[SummedAreas, Faces]]:
    """Whole frames, from a pyramid without its `skip` finest levels to ever finer ones until the face is clear.

    Args:
        frames: uint8 [H, W, 3] RGB, of one size.
        skip: from `skip_for`; 0 looks at all levels.
        memory: for the tables, see `SummedAreas`.

    Returns:
        the tables and the faces of each frame.
    """
    height, width = frames[0].shape[:2]
    areas = SummedAreas(frames, Window.whole(height, width), memory)
    found = mtcnn.detect(areas, pyramid(height, width, skip))
    results = []
    for index, faces in enumerate(found):
        one = areas.only(index)
        finer = skip
        while finer > 0 and not _is_clear(faces, finer):
            finer = _finer(faces, finer)
            faces = mtcnn.detect(one, pyramid(height, width, finer))[0]
        results.append((one, faces))
    return results


def _is_clear(faces: Faces, skip: int) -> bool:
    """Whether the `skip` finest levels would not change which face is the largest, nor its box."""
    if not len(faces):
        return False
    large = longer_side(faces.boxes[faces.largest]) >= CLEAR_OF_PYRAMID * min_face(skip)
    return large and faces.probs[faces.largest] >= CLEAR_PROB


def _finer(faces: Faces, skip: int) -> int:
    """How many of the finest levels to leave out at the next look."""
    if not len(faces):
        return skip // 2
    if faces.probs[faces.largest] < CLEAR_PROB:
        return 0
    return min(skip - 1, skip_for(longer_side(faces.boxes[faces.largest])))


def min_face(skip: int) -> float:
    """The smallest face in px that a pyramid without its `skip` finest levels looks for."""
    return MIN_FACE / PYRAMID_FACTOR**skip


def skip_for(side: float) -> int:
    """How many of the finest levels a face of this longer side in px can do without, with a tenth to spare."""
    if side <= 0:
        return FIRST_SKIP
    skip = 0
    while CLEAR_OF_PYRAMID * min_face(skip + 1) <= 0.9 * side:
        skip += 1
    return skip


def longer_side(box: np.ndarray) -> float:
    """Of a box, float [4] px."""
    return float(max(box[2] - box[0], box[3] - box[1]))
