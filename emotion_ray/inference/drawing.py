"""What the engine says of a frame, drawn on it: a box and a number for each face, and a panel of probabilities."""

from collections.abc import Iterator

import cv2
import numpy as np

from emotion_ray.inference.observation import FaceObservation, Observation
from emotion_ray.vision.areas import Window

# Okabe & Ito (2008), "Color Universal Design": colours that people with any colour vision can tell apart.
TRACK_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
INK, QUIET, PAPER = (255, 255, 255), (150, 150, 150), (18, 18, 18)
PAPER_WEIGHT = 0.72  # how much of the picture the panel covers
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_PX = 22.0  # height of a capital at scale 1
DESIGNED_FOR = 720  # px of the frame's shorter side, in which the sizes below are given
SMALLEST, LARGEST = 0.62, 4.0  # times those: below the smallest the text can't be read


class _Rectangle(Window):
    """One that is drawn; it may lie outside of the frame."""

    def meets(self, other: "_Rectangle") -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def is_within(self, height: int, width: int) -> bool:
        return self.x0 >= 0 and self.y0 >= 0 and self.x1 <= width and self.y1 <= height


class Annotator:
    """Draws on the frames of one video, all of one size.

    Args:
        length: T, the frames that the model takes.
    """

    def __init__(self, height: int, width: int, labels: tuple[str, ...], length: int):
        self._height, self._width = height, width
        self._labels = labels
        self._length = length
        scale = min(max(min(height, width) / DESIGNED_FOR, SMALLEST), LARGEST)
        self._line = max(round(2.5 * scale), 1)
        self._text = 0.52 * scale  # of the font's own size
        self._stroke = max(round(1.2 * scale), 1)
        self._row = round(21 * scale)
        self._gap = round(8 * scale)
        self._name_width = max(self._measured(label) for label in labels) + self._gap
        widest_title = max(self._measured(f"{label} 100%, early {length}/{length}") for label in labels)
        self._panel_width = max(self._name_width + round(96 * scale), widest_title) + 3 * self._gap
        self._panel_height = self._row * (len(labels) + 1) + 2 * self._gap

    def draw(self, rgb: np.ndarray, observation: Observation) -> np.ndarray:
        """A copy of a frame, uint8 [H, W, 3] RGB, with its faces drawn on it."""
        picture = rgb.copy()
        faces = observation.faces
        boxes = [self._box(face) for face in faces]
        chips = [self._chip(face, box) for face, box in zip(faces, boxes, strict=True)]
        full = [(self._panel_width, self._panel_height)] * len(faces)
        places = self._places(boxes, [*boxes, *chips], full)
        if None in places:  # too many for panels: a line each
            lines = [(self._measured(self._title(face)) + 3 * self._gap, self._row + self._gap) for face in faces]
            places = self._places(boxes, [*boxes, *chips], lines)
        for face, box, chip in zip(faces, boxes, chips, strict=True):
            self._draw_box(picture, box, chip, face)
        for face, place in zip(faces, places, strict=True):
            if place is not None:
                self._draw_panel(picture, place, face)
        return picture

    def _box(self, face: FaceObservation) -> _Rectangle:
        x0, y0 = np.maximum(np.rint(face.box[:2]), 0).astype(int)
        x1, y1 = np.minimum(np.rint(face.box[2:]), (self._width, self._height)).astype(int)
        return _Rectangle(int(x0), int(y0), int(x1), int(y1))

    def _chip(self, face: FaceObservation, box: _Rectangle) -> _Rectangle:
        """Where the number of a face goes: on its box's upper left corner."""
        wide = self._measured(str(face.track)) + 2 * self._gap
        return self._within(_Rectangle(box.x0, box.y0 - self._row, box.x0 + wide, box.y0))

    def _places(
        self, boxes: list[_Rectangle], taken: list[_Rectangle], sizes: list[tuple[int, int]]
    ) -> list[_Rectangle | None]:
        """Where the panels of some faces go, each of its width and height: beside its box, clear of what is taken."""
        taken = list(taken)
        places: list[_Rectangle | None] = []
        for box, size in zip(boxes, sizes, strict=True):
            free = (
                place
                for place in self._beside(box, *size)
                if place.is_within(self._height, self._width) and not any(place.meets(other) for other in taken)
            )
            places.append(next(free, None))
            taken += [place for place in places[-1:] if place is not None]
        return places

    def _beside(self, box: _Rectangle, wide: int, high: int) -> Iterator[_Rectangle]:
        """Right, left, below and above, the latter over the number, moved into the frame along the box's side."""
        y = min(box.y0, self._height - high)
        x = min(box.x0, self._width - wide)
        for x0, y0 in (
            (box.x1 + self._gap, y),
            (box.x0 - self._gap - wide, y),
            (x, box.y1 + self._gap),
            (x, box.y0 - self._row - self._gap // 2 - high),
        ):
            yield _Rectangle(x0, y0, x0 + wide, y0 + high)

    def _within(self, place: _Rectangle) -> _Rectangle:
        x = min(max(place.x0, 0), max(self._width - (place.x1 - place.x0), 0))
        y = min(max(place.y0, 0), max(self._height - (place.y1 - place.y0), 0))
        return _Rectangle(x, y, x + place.x1 - place.x0, y + place.y1 - place.y0)

    def _draw_box(self, picture: np.ndarray, box: _Rectangle, chip: _Rectangle, face: FaceObservation) -> None:
        """A dark line under a bright one is seen on any ground; a thin grey one where the face was not found."""
        corners = (box.x0, box.y0), (box.x1 - 1, box.y1 - 1)
        cv2.rectangle(picture, *corners, PAPER, self._line + 2, cv2.LINE_AA)
        if face.found:
            cv2.rectangle(picture, *corners, _colour(face.track), self._line, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, *corners, QUIET, 1, cv2.LINE_AA)
        cv2.rectangle(picture, (chip.x0, chip.y0), (chip.x1 - 1, chip.y1 - 1), _colour(face.track), cv2.FILLED)
        self._write(picture, str(face.track), chip.x0 + self._gap, chip.y1 - self._baseline, PAPER)

    def _draw_panel(self, picture: np.ndarray, place: _Rectangle, face: FaceObservation) -> None:
        ground = picture[place.y0 : place.y1, place.x0 : place.x1]
        ground[:] = cv2.addWeighted(ground, 1 - PAPER_WEIGHT, np.full_like(ground, PAPER), PAPER_WEIGHT, 0)
        cv2.rectangle(
            picture, (place.x0, place.y0), (place.x0 + self._line - 1, place.y1 - 1), _colour(face.track), cv2.FILLED
        )
        left, right = place.x0 + self._line + self._gap, place.x1 - self._gap
        y = place.y0 + self._row + self._gap // 2 - self._baseline
        self._write(picture, self._title(face), left, y, INK)
        if place.y1 - place.y0 < self._panel_height:
            return
        for row, label in enumerate(self._labels, start=1):
            self._draw_bar(picture, place.y0 + row * self._row + self._gap, left, right, label, face)

    def _draw_bar(
        self, picture: np.ndarray, top: int, left: int, right: int, label: str, face: FaceObservation
    ) -> None:
        """A row of the panel: a label and its probability as a bar; the bar is empty while there is none."""
        told = face.prediction
        is_first = told is not None and told.label == label
        self._write(picture, label, left, top + self._row - self._baseline, INK if is_first else (205, 205, 205))
        x0, y0, y1 = left + self._name_width, top + self._row // 4, top + self._row - self._row // 4
        cv2.rectangle(picture, (x0, y0), (right, y1), (70, 70, 70), cv2.FILLED)
        if told is not None:
            x1 = x0 + round((right - x0) * float(told.probabilities[self._labels.index(label)]))
            if x1 > x0:
                cv2.rectangle(picture, (x0, y0), (x1, y1), _colour(face.track) if is_first else QUIET, cv2.FILLED)

    def _title(self, face: FaceObservation) -> str:
        if face.prediction is None:
            return f"buffering {face.buffered}/{self._length}"
        told = f"{face.prediction.label} {face.prediction.probabilities.max():.0%}"
        return f"{told}, early {face.prediction.frames}/{self._length}" if face.prediction.early else told

    @property
    def _baseline(self) -> int:
        """px from the bottom of a row up to the line that its text stands on."""
        return round((self._row - FONT_PX * self._text) / 2)

    def _measured(self, text: str) -> int:
        return cv2.getTextSize(text, FONT, self._text, self._stroke)[0][0]

    def _write(self, picture: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
        cv2.putText(picture, text, (x, y), FONT, self._text, colour, self._stroke, cv2.LINE_AA)


def _colour(track: int) -> tuple[int, int, int]:
    return TRACK_COLOURS[(track - 1) % len(TRACK_COLOURS)]
