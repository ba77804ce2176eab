"""Which face, through time, and its crop: the one way in which a frame becomes a model's input."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emotion_ray.vision.areas import SummedAreas, Window
from emotion_ray.vision.mtcnn import CELL, MTCNN, Faces, pyramid
from emotion_ray.vision.search import longer_side, search, skip_for

WINDOW_SIDES = 2.6  # a tracked face is looked for in a window of this many of its sides,
CLOSE_SIDES = 1.9  # and for the third stage alone in one of so many,
TRACKED_SCALES = 0.45  # at pyramid levels whose cell is this many of its sides or more
STRAY_SIDES = 0.25  # the window moves on when the face has moved this many of its sides

# Where tracking is in doubt the window, and then the whole frame, is looked at again.
DOUBTFUL_PROB = 0.9
DOUBTFUL_OVERLAP = 0.5  # intersection over union with the face's last box
SAME_FACE_OVERLAP = 0.1  # below it, a face found in the whole frame is somebody else's
PATIENCE = 15  # frames in which a lost face is waited for, half a second, before another one will do

TABLE_BYTES = 72 * 2**20  # summed-area tables held at once: 6 frames of 720p
MOST_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """The face in one frame.

    Attributes:
        pixels: uint8 [S, S, 3] RGB.
        box: float32 [4] px of the frame, x0 y0 x1 y1: the detector's, or the last one where it found none.
        prob: the detector's probability, 0 where it found none.
        found: whether a face was detected in this very frame.
    """

    pixels: np.ndarray
    box: np.ndarray
    prob: float
    found: bool


@dataclass(frozen=True, eq=False)
class _Sighting:
    """A frame that was looked at, and the box and probability of the face, and its place, if it was seen."""

    areas: SummedAreas
    box: np.ndarray | None = None
    prob: float = 0.0
    place: np.ndarray | None = None

    @classmethod
    def of(cls, areas: SummedAreas, faces: Faces, chosen: int | None) -> "_Sighting":
        if chosen is None:
            return cls(areas)
        return cls(areas, faces.boxes[chosen], float(faces.probs[chosen]), faces.places[chosen])


class FaceFollower:
    """Finds one person's face in the frames of one video, in order, and crops it.

    "exact" gives, in each frame, facenet-pytorch's largest face. "track" takes the largest face of the first
    frame that has one and follows it: the same cascade in a window around its last place, and in the whole
    frame whenever that leaves a doubt.

    Nothing looks into the future, but for the frames before the first face: they are cropped at its box. The
    crops are the same whether frames come one by one or many at a time.

    Args:
        size: height and width of a crop in px.
        start: the box of the face to follow, float32 [4] px; by default it is looked for.
        patience: frames in which a lost face is waited for before another one will do.
        tables_memory: from `memory_for_tables`, where several followers that work in turn share one block.
    """

    def __init__(
        self,
        mtcnn: MTCNN,
        detector: Literal["track", "exact"] = "track",
        size: int = 64,
        start: np.ndarray | None = None,
        patience: float = PATIENCE,
        tables_memory: np.ndarray | None = None,
    ):
        self._mtcnn = mtcnn
        self._tracking = detector == "track"
        self._size = size
        self._patience = patience
        self._last = start  # box of the last face seen
        self._missed = 0  # frames since
        self._anchor = start  # the box that the window is about
        self._place: np.ndarray | None = None  # where the whole cascade saw the face in the frame before, if it did
        self._tables_memory = memory_for_tables() if tables_memory is None else tables_memory

    def crops(
        self, frames: Iterable[np.ndarray], again: Callable[[int], Iterable[np.ndarray]] | None = None
    ) -> Iterator[FaceCrop]:
        """A crop for each frame, as soon as a face has been seen; where none ever has one, nothing comes.

        Args:
            frames: uint8 [H, W, 3] RGB, all of one size.
            again: gives the first n of them once more: those before the first face. Without it they are held.
        """
        held: list[np.ndarray] = []
        before = 0
        for chunk in _chunks(frames):
            rest = chunk
            while rest:
                sightings = self._look(rest)
                for frame, sighting in zip(rest, sightings, strict=False):
                    seen = sighting.box is not None
                    self._last = sighting.box if seen else self._last
                    self._missed = 0 if seen else self._missed + 1
                    if self._last is None:
                        before += 1
                        if again is None:
                            held.append(frame)
                        continue
                    for earlier in again(before) if again and before else held:
                        whole = Window.whole(*earlier.shape[:2])
                        yield self._crop(_Sighting(SummedAreas([earlier], whole)))
                    held.clear()
                    before = 0
                    yield self._crop(sighting)
                rest = rest[len(sightings) :]

    def _look(self, frames: list[np.ndarray]) -> list[_Sighting]:
        """Looks at one or more of the next frames."""
        if not self._tracking:
            side = 0.0 if self._last is None else longer_side(self._last)
            looked = search(self._mtcnn, frames, skip_for(side), self._tables_memory)
            return [_Sighting.of(areas, faces, faces.largest if len(faces) else None) for areas, faces in looked]
        if self._last is None:
            sighting = self._look_everywhere(frames[0], None, 0)
            self._anchor = sighting.box
            return [sighting]
        return self._track(frames, self._last, self._anchor)

    def _track(self, frames: list[np.ndarray], last: np.ndarray, start: np.ndarray) -> list[_Sighting]:
        """Looks about the box `start`, up to a frame that leaves a doubt or from which the window should move on.

        Of every two frames the second gets the third stage alone, in the place where it saw the face in the first:
        a fifth less time, for boxes that follow the original's jumps from one frame to the next less closely. It
        needs no more than what is close about the face, and whatever reaches beyond that is looked at in full.
        """
        height, width = frames[0].shape[:2]
        side = longer_side(start)
        scales = [scale for scale in pyramid(height, width) if CELL / scale >= TRACKED_SCALES * side]
        in_full = range(0 if self._place is None else 1, len(frames), 2)
        again = [index for index in range(len(frames)) if index not in in_full]
        window, close = (_about(start, sides * side, height, width) for sides in (WINDOW_SIDES, CLOSE_SIDES))
        half = len(self._tables_memory) // 2
        areas: dict[int, SummedAreas] = {}
        looked: dict[int, Faces] = {}
        if in_full:
            some = SummedAreas([frames[index] for index in in_full], window, self._tables_memory[:half])
            looked = dict(zip(in_full, self._mtcnn.detect(some, scales), strict=True))
            areas |= {index: some.only(place) for place, index in enumerate(in_full)}
        if again:
            some = SummedAreas([frames[index] for index in again], close, self._tables_memory[half:])
            areas |= {index: some.only(place) for place, index in enumerate(again)}
            places = np.stack([_place_of(looked[index - 1], last) if index else self._place for index in again])
            looked |= dict(zip(again, self._mtcnn.look_again(some, places), strict=True))
            expected = dict(zip(again, places, strict=True))
        sightings: list[_Sighting] = []
        for index, frame in enumerate(frames):
            one, faces = areas[index], looked[index]
            if index in again and not np.array_equal(expected[index], self._place):
                faces = self._mtcnn.look_again(one, self._place[None])[0]
            nearest = _sure(faces, last)
            doubted = index in again and (nearest is None or not _within(faces.boxes[nearest], close, height, width))
            if doubted:
                one = SummedAreas([frame], window)
                faces = self._mtcnn.detect(one, scales)[0]
                nearest = _sure(faces, last)
            if nearest is None:
                sighting = self._look_everywhere(frame, last, 0 if sightings else self._missed)
                self._anchor = last if sighting.box is None else sighting.box
            else:
                sighting = _Sighting.of(one, faces, nearest)
            sightings.append(sighting)
            self._place = sighting.place if doubted or nearest is None or index in in_full else None
            if doubted or nearest is None:
                break
            last = sighting.box
            if np.abs(last - start).max() > STRAY_SIDES * side:
                self._anchor = last
                break
        return sightings

    def _look_everywhere(self, frame: np.ndarray, last: np.ndarray | None, missed: int) -> _Sighting:
        """Looks at a whole frame, for the face whose box was `last` or, after a while or at first, the largest."""
        [(areas, faces)] = search(self._mtcnn, [frame], skip_for(0.0 if last is None else longer_side(last)))
        chosen, overlap = (None, 0.0) if last is None else _nearest(faces, last)
        if overlap < SAME_FACE_OVERLAP:
            lost = last is None or missed >= self._patience
            chosen = faces.largest if lost and len(faces) else None
        return _Sighting.of(areas, faces, chosen)

    def _crop(self, sighting: _Sighting) -> FaceCrop:
        """Cuts out the box as facenet-pytorch's `extract_face` does: cut to the frame, not squared, area-resized."""
        areas, box = sighting.areas, sighting.box if sighting.box is not None else self._last
        corners = np.array([*np.maximum(box[:2], 0), *np.minimum(box[2:], (areas.width, areas.height))]).astype(int)
        corners[:2] = np.minimum(corners[:2], (areas.width - 1, areas.height - 1))
        corners[2:] = np.maximum(corners[2:], corners[:2] + 1)
        pixels = areas.crops(np.zeros(1, int), corners[None], self._size)[0]
        return FaceCrop(np.rint(pixels).astype(np.uint8), box, sighting.prob, sighting.box is not None)


def memory_for_tables() -> np.ndarray:
    """One block for the summed-area tables of chunk after chunk: new ones would cost more in page faults than in sums.

    Returns:
        int32 [n], not initialised.
    """
    return np.empty(TABLE_BYTES // 4, np.int32)


def _place_of(faces: Faces, last: np.ndarray) -> np.ndarray:
    """Where the third stage saw the face whose box was `last` some frames before; no place where there is none."""
    nearest, _ = _nearest(faces, last)
    return np.zeros(4, np.float32) if nearest is None else faces.places[nearest]


def _sure(faces: Faces, last: np.ndarray) -> int | None:
    """The face whose last box this was, unless there is a doubt."""
    nearest, overlap = _nearest(faces, last)
    if nearest is None or overlap < DOUBTFUL_OVERLAP or faces.probs[nearest] < DOUBTFUL_PROB:
        return None
    return nearest


def _nearest(faces: Faces, box: np.ndarray) -> tuple[int | None, float]:
    """The face that overlaps a box most, and its intersection over union with it."""
    if not len(faces):
        return None, 0.0
    overlaps = intersection_over_union(faces.boxes, box)
    best = int(overlaps.argmax())
    return best, float(overlaps[best])


def intersection_over_union(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Of each of some boxes, float [n, 4] px, with one box, float [4]: float [n] in 0..1."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.maximum(sides, 0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return shared / (areas + (box[2:] - box[:2]).prod() - shared)


def _about(box: np.ndarray, side: float, height: int, width: int) -> Window:
    """The square of this side in px about a box's centre, cut to the frame."""
    x, y = (box[:2] + box[2:]) / 2
    return Window(
        max(int(x - side / 2), 0),
        max(int(y - side / 2), 0),
        min(int(x + side / 2), width),
        min(int(y + side / 2), height),
    )


def _within(box: np.ndarray, window: Window, height: int, width: int) -> bool:
    """Whether a window shows all of a box that lies in the frame."""
    x0, y0, x1, y1 = box
    inside = max(x0, 0) >= window.x0 and max(y0, 0) >= window.y0
    return inside and min(x1, width) <= window.x1 and min(y1, height) <= window.y1


def _chunks(frames: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Frames in lists as long as the summed-area tables' memory allows: the networks are faster on several."""
    iterator = iter(frames)
    for first in iterator:
        table_bytes = first.shape[0] * first.shape[1] * 12
        count = min(max(TABLE_BYTES // table_bytes, 1), MOST_AT_ONCE)
        yield [first, *itertools.islice(iterator, count - 1)]
