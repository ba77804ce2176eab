"""Area resizing by summed-area tables: every pyramid level and every crop of a frame from one pass over it.

PyTorch's `interpolate(mode="area")` is adaptive average pooling: output bin i of n averages the input rows from
floor(i * H / n) up to, not including, ceil((i + 1) * H / n). In a summed-area table (Crow 1984) each such
average is four look-ups, whatever the size of the bin.
"""

import math
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np


@dataclass(frozen=True)
class Window:
    """A rectangle of a frame in px: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def whole(cls, height: int, width: int) -> "Window":
        return cls(0, 0, width, height)


class SummedAreas:
    """Summed-area tables of the same window of B frames of one size.

    Args:
        frames: B arrays, uint8 [H, W, 3].
        window: the part of each that is looked at; what lies outside can't be asked for.
        memory: int32 [n] to build the tables in if n is enough; they are spoilt when it is used again.
    """

    def __init__(self, frames: list[np.ndarray], window: Window, memory: np.ndarray | None = None):
        self.window = window
        self.height, self.width = frames[0].shape[:2]
        rows, columns = window.y1 - window.y0, window.x1 - window.x0
        shape = (len(frames), rows + 1, columns + 1, 3)
        fits = memory is not None and memory.size >= math.prod(shape)
        self._tables = memory[: math.prod(shape)].reshape(shape) if fits else np.empty(shape, np.int32)
        for frame, table in zip(frames, self._tables, strict=True):
            # int32 holds the sum of 8.4 million px of 255; more wraps around, and differences come out right
            cv2.integral(frame[window.y0 : window.y1, window.x0 : window.x1], table, cv2.CV_32S)

    def __len__(self) -> int:
        return len(self._tables)

    def only(self, index: int) -> "SummedAreas":
        """One of the frames alone, sharing its table."""
        one = copy(self)
        one._tables = self._tables[index : index + 1]
        return one

    def level(self, rows: int, columns: int, part: Window) -> np.ndarray:
        """A part of the frames resized to `rows` x `columns`: float32 [B, h, w, 3], 0..255.

        Args:
            rows, columns: size of the whole resized frame.
            part: the rectangle of the resized frame to compute; its source lies within the window.
        """
        corners, counts = _grid(self.height, self.width, rows, columns, part, self.window)
        tables = self._tables.reshape(len(self), -1, 3)
        top_left, top_right, bottom_left, bottom_right = (tables.take(corner, axis=1) for corner in corners)
        sums = bottom_right - bottom_left - top_right + top_left
        return sums.astype(np.float32) / counts

    def crops(self, of_frame: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
        """Boxes cut out and resized to `size` x `size`: float32 [N, size, size, 3], 0..255.

        Args:
            of_frame: int [N], which of the B frames.
            boxes: int [N, 4] px, x0 y0 x1 y1, x1 and y1 exclusive; each at least 1 px, within the window.
        """
        steps = np.arange(size)
        x0, y0, x1, y1 = (boxes[:, i, None].astype(np.int64) for i in range(4))
        wide, high = x1 - x0, y1 - y0
        x0, y0 = x0 - self.window.x0, y0 - self.window.y0
        left, right = x0 + steps * wide // size, x0 - (-(steps + 1) * wide // size)
        top, bottom = y0 + steps * high // size, y0 - (-(steps + 1) * high // size)
        counts = ((bottom - top)[:, :, None] * (right - left)[:, None, :]).astype(np.float32)
        points = self._tables.reshape(-1, 3)
        rows_in_table, columns_in_table = self._tables.shape[1:3]
        base = of_frame[:, None].astype(np.int64) * rows_in_table
        top, bottom = (base + top) * columns_in_table, (base + bottom) * columns_in_table

        def corner(row: np.ndarray, column: np.ndarray) -> np.ndarray:
            return points.take(row[:, :, None] + column[:, None, :], axis=0)

        sums = corner(bottom, right) - corner(bottom, left) - corner(top, right) + corner(top, left)
        return sums.astype(np.float32) / counts[..., None]


@lru_cache(maxsize=256)
def _grid(
    height: int, width: int, rows: int, columns: int, part: Window, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Where in a window's table the corners of a level's bins are, int [4, h, w], and their px, float32 [h, w, 1]."""
    top, bottom = _bins(height, rows, part.y0, part.y1)
    left, right = _bins(width, columns, part.x0, part.x1)
    counts = ((bottom - top)[:, None] * (right - left)[None, :]).astype(np.float32)
    table_width = window.x1 - window.x0 + 1
    ys = [(edge - window.y0) * table_width for edge in (top, top, bottom, bottom)]
    xs = [edge - window.x0 for edge in (left, right, left, right)]
    corners = np.stack([y[:, None] + x[None, :] for y, x in zip(ys, xs, strict=True)])
    return corners, counts[..., None]


def _bins(length: int, bins: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and end (exclusive) in px of the bins first..last-1, of `bins` over `length` px."""
    index = np.arange(first, last)
    return index * length // bins, -(-(index + 1) * length // bins)
