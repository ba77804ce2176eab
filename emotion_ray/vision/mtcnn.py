"""The MTCNN face detector, exact and fast.

Zhang et al. (2016), "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
https://arxiv.org/abs/1604.02878, with the weights of facenet-pytorch (MIT) and the very boxes that its
`MTCNN().detect` gives: three networks, each looking closer at what the one before let pass.

What makes it fast, without another result: all resizing from one summed-area table (`areas.py`), the second and
third network once for many frames, and a pyramid without the levels that are too fine for the face looked for.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from emotion_ray.vision.areas import SummedAreas, Window
from emotion_ray.vision.mtcnn_networks import ONet, PNet, RNet, with_weights

MIN_FACE = 20.0  # px; it, the factor and the thresholds are facenet-pytorch's defaults
PYRAMID_FACTOR = 0.709
THRESHOLDS = (0.6, 0.7, 0.7)
NMS_ROWS = 256  # boxes compared with all others at once: bounds the memory of a frame full of candidates
CELL, STRIDE = 12, 2  # px in a pyramid level: what one output of the first network sees, and its step


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of one frame.

    Attributes:
        boxes: float32 [n, 4] px, x0 y0 x1 y1; may pass the frame's edge.
        probs: float32 [n].
        places: float32 [n, 4] px, the squares in which the third stage saw them, for `MTCNN.look_again`.
    """

    boxes: np.ndarray
    probs: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    @cached_property
    def largest(self) -> int:
        """Index of the box of the largest area; facenet-pytorch's choice among equal ones."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return int(np.argsort(sides[:, 0] * sides[:, 1])[-1])


class MTCNN:
    """The cascade with facenet-pytorch's weights, on the CPU.

    Raises:
        EmotionRayError: facenet-pytorch's weight files are not installed.
    """

    def __init__(self):
        self.pnet, self.rnet, self.onet = (with_weights(net) for net in (PNet(), RNet(), ONet()))

    @torch.inference_mode()
    def detect(self, areas: SummedAreas, scales: list[float]) -> list[Faces]:
        """All faces within the window of each of B frames.

        Args:
            areas: the frames' summed-area tables.
            scales: pyramid levels, from `pyramid`.
        """
        candidates = self._propose(areas, scales)
        candidates = self._refine(areas, candidates)
        return self._decide(areas, candidates)

    @torch.inference_mode()
    def look_again(self, areas: SummedAreas, places: np.ndarray) -> list[Faces]:
        """The face that is still, or no longer, in a place of the frame before: the third stage alone.

        Args:
            areas: of B frames.
            places: float32 [B, 4] px, of `Faces.places`, one for each.
        """
        nothing = np.zeros((len(areas), 4), np.float32)
        return self._decide(areas, _Candidates(np.arange(len(areas)), places, nothing[:, 0], nothing))

    def _propose(self, areas: SummedAreas, scales: list[float]) -> "_Candidates":
        """First stage: every cell of every level that might be a face, shifted and squared."""
        levels = [_in_level(areas, scale) for scale in scales]
        found = [self._propose_in_level(areas, *level) for level in levels if level is not None]
        candidates = _Candidates.joined(found).nms(0.7)
        boxes = candidates.boxes
        sides = boxes[:, 2:] - boxes[:, :2]
        shifted = boxes + candidates.shifts * np.tile(sides, 2)
        return _Candidates(candidates.of_frame, _squared(shifted), candidates.scores, candidates.shifts)

    def _propose_in_level(
        self, areas: SummedAreas, scale: float, rows: int, columns: int, part: Window
    ) -> "_Candidates":
        pixels = areas.level(rows, columns, part)
        logits, shifts = self.pnet(_network_input(pixels))
        scores = torch.softmax(logits, 1)[:, 1].numpy()
        of_frame, y, x = np.nonzero(scores >= np.float32(THRESHOLDS[0]))
        # the arithmetic of the original in its own float32: another rounding picks another candidate
        corner = np.stack([x + part.x0 // STRIDE, y + part.y0 // STRIDE], 1).astype(np.float32) * np.float32(STRIDE)
        first = np.floor((corner + np.float32(1)) / np.float32(scale))
        last = np.floor((corner + np.float32(CELL)) / np.float32(scale))
        boxes = np.concatenate([first, last], 1)
        return _Candidates(of_frame, boxes, scores[of_frame, y, x], shifts.numpy()[of_frame, :, y, x]).nms(0.5)

    def _refine(self, areas: SummedAreas, candidates: "_Candidates") -> "_Candidates":
        """Second stage: look at each candidate at 24x24."""
        scored = self._look_closer(areas, candidates, self.rnet, 24, THRESHOLDS[1]).nms(0.7)
        return _Candidates(scored.of_frame, _squared(_shifted(scored)), scored.scores, scored.shifts)

    def _decide(self, areas: SummedAreas, candidates: "_Candidates") -> list[Faces]:
        """Third stage: look at each survivor at 48x48."""
        scored = self._look_closer(areas, candidates, self.onet, 48, THRESHOLDS[2])
        boxes = _shifted(scored)
        faces = []
        for frame in range(len(areas)):
            mine = np.flatnonzero(scored.of_frame == frame)
            keep = mine[_nms_by_smaller(boxes[mine], scored.scores[mine], 0.7)]
            faces.append(Faces(boxes[keep], scored.scores[keep], scored.boxes[keep]))
        return faces

    def _look_closer(
        self, areas: SummedAreas, candidates: "_Candidates", net: nn.Module, size: int, threshold: float
    ) -> "_Candidates":
        """Scores candidates by a network at `size` x `size` px and keeps those above the threshold."""
        corners = np.trunc(candidates.boxes).astype(np.int64)
        corners[:, :2] = np.maximum(corners[:, :2], 1) - 1  # the original counts pixels from 1
        corners[:, 2] = np.minimum(corners[:, 2], areas.width)
        corners[:, 3] = np.minimum(corners[:, 3], areas.height)
        within = areas.window
        inside = (corners[:, :2] < corners[:, 2:]).all(1)
        inside &= (corners[:, :2] >= (within.x0, within.y0)).all(1) & (corners[:, 2:] <= (within.x1, within.y1)).all(1)
        candidates, corners = candidates.where(inside), corners[inside]
        if not len(corners):
            return candidates
        logits, shifts = net(_network_input(areas.crops(candidates.of_frame, corners, size)))
        scores = torch.softmax(logits, 1)[:, 1].numpy()
        scored = _Candidates(candidates.of_frame, candidates.boxes, scores, shifts.numpy())
        return scored.where(scores > np.float32(threshold))


def pyramid(height: int, width: int, skip: int = 0) -> list[float]:
    """The original's pyramid scales for a frame of this size in px, without the `skip` finest.

    The levels left are bit for bit those of the whole pyramid.
    """
    scale = CELL / MIN_FACE
    shortest = min(height, width) * scale
    scales = []
    while shortest >= CELL:
        scales.append(scale)
        scale *= PYRAMID_FACTOR
        shortest *= PYRAMID_FACTOR
    return scales[skip:]


def _in_level(areas: SummedAreas, scale: float) -> tuple[float, int, int, Window] | None:
    """Size of a pyramid level and the part of it that the window covers, on the level's own pixel grid."""
    rows, columns = int(areas.height * scale + 1), int(areas.width * scale + 1)
    window = areas.window
    y0, y1 = _covered(window.y0, window.y1, areas.height, rows)
    x0, x1 = _covered(window.x0, window.x1, areas.width, columns)
    if y1 - y0 < CELL or x1 - x0 < CELL:
        return None
    return scale, rows, columns, Window(x0, y0, x1, y1)


def _covered(first: int, last: int, length: int, bins: int) -> tuple[int, int]:
    """The bins (of `bins` over `length` px) whose source lies within first..last, beginning at an even one."""
    start = -(-first * bins // length)
    start += start % STRIDE
    end = last * bins // length
    return start, end


@dataclass(frozen=True, eq=False)
class _Candidates:
    """of_frame int [N], boxes float32 [N, 4] px, scores float32 [N], shifts float32 [N, 4] in box sides."""

    of_frame: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    shifts: np.ndarray

    @classmethod
    def joined(cls, parts: list["_Candidates"]) -> "_Candidates":
        if not parts:
            return cls(
                np.zeros(0, int),
                np.zeros((0, 4), np.float32),
                np.zeros(0, np.float32),
                np.zeros((0, 4), np.float32),
            )
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def where(self, chosen: np.ndarray) -> "_Candidates":
        return _Candidates(self.of_frame[chosen], self.boxes[chosen], self.scores[chosen], self.shifts[chosen])

    def nms(self, threshold: float) -> "_Candidates":
        """Greedy non-maximum suppression within each frame by intersection over union; best first."""
        return self.where(_nms_by_union(self.of_frame, self.boxes, self.scores, threshold))


def _nms_by_union(of_frame: np.ndarray, boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    order = np.argsort(-scores, kind="stable")
    frame, (x0, y0, x1, y1) = of_frame[order], boxes[order].T
    area = (x1 - x0) * (y1 - y0)
    alive = np.ones(len(order), bool)
    for start in range(0, len(order), NMS_ROWS):
        i, j = slice(start, start + NMS_ROWS), slice(start, None)
        wide = np.maximum(np.minimum(x1[i, None], x1[None, j]) - np.maximum(x0[i, None], x0[None, j]), 0)
        high = np.maximum(np.minimum(y1[i, None], y1[None, j]) - np.maximum(y0[i, None], y0[None, j]), 0)
        shared = wide * high
        over = shared / (area[i, None] + area[None, j] - shared) > threshold
        clear = ~(over & (frame[i, None] == frame[None, j]))
        for row in range(len(clear)):
            if alive[start + row]:
                alive[start + row + 1 :] &= clear[row, row + 1 :]
    return order[alive]


def _nms_by_smaller(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """As `nms`, for one frame, by intersection over the smaller box, in px that count their ends."""
    x0, y0, x1, y1 = boxes.T
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    order = np.argsort(scores)
    keep = []
    while len(order):
        best, order = order[-1], order[:-1]
        keep.append(best)
        wide = np.maximum(np.minimum(x1[best], x1[order]) - np.maximum(x0[best], x0[order]) + 1, 0)
        high = np.maximum(np.minimum(y1[best], y1[order]) - np.maximum(y0[best], y0[order]) + 1, 0)
        order = order[wide * high / np.minimum(area[best], area[order]) <= threshold]
    return np.array(keep, int)


def _squared(boxes: np.ndarray) -> np.ndarray:
    """Boxes grown about their centre to squares of the longer side."""
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    side = np.maximum(wide, high)
    half = np.float32(0.5)
    x0 = boxes[:, 0] + wide * half - side * half
    y0 = boxes[:, 1] + high * half - side * half
    return np.stack([x0, y0, x0 + side, y0 + side], 1)


def _shifted(scored: _Candidates) -> np.ndarray:
    sides = scored.boxes[:, 2:] - scored.boxes[:, :2] + np.float32(1)
    return scored.boxes + scored.shifts * np.tile(sides, 2)


def _network_input(pixels: np.ndarray) -> torch.Tensor:
    """float32 [N, H, W, 3] in 0..255 to [N, 3, H, W] in -1..1, channels last in memory: 2 to 4 times as fast."""
    pixels -= np.float32(127.5)
    pixels *= np.float32(0.0078125)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
