"""A stand-in for the face detector, whose faces are written down frame by frame, and models that run fast."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.models.architectures import SIZES, build
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import LoadedModel
from emotion_ray.settings import AttentionSettings, LSTMSettings
from emotion_ray.vision.areas import SummedAreas
from emotion_ray.vision.faces import intersection_over_union
from emotion_ray.vision.mtcnn import Faces

HEIGHT, WIDTH = 72, 128
SMALL = {"lstm": LSTMSettings(hidden_size=8), "attention": AttentionSettings(16, heads=2, feed_forward=16)}

Box = tuple[float, float, float, float]


def scripted_frame(index: int) -> np.ndarray:
    """A frame, uint8 [72, 128, 3], that bears its index (below 256) and has some texture."""
    frame = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame[:, :, 0] = index
    return frame


class ScriptedDetector:
    """Takes the place of `MTCNN`: finds, in each frame of `scripted_frame`, what the script says.

    Args:
        script: the boxes in px of the faces in a frame, by its index.

    Attributes:
        looks: indices of the frames that were looked at, in order.
    """

    def __init__(self, script: Callable[[int], Iterable[Box]]):
        self._script = script
        self.looks: list[int] = []

    def detect(self, areas: SummedAreas, scales: list[float]) -> list[Faces]:
        window, found = areas.window, []
        for place in range(len(areas)):
            pixel = np.array([[window.x0, window.y0, window.x0 + 1, window.y0 + 1]])
            index = int(areas.crops(np.array([place]), pixel, 1)[0, 0, 0, 0])
            self.looks.append(index)
            boxes = np.array(list(self._script(index)), np.float32).reshape(-1, 4)
            inside = (boxes[:, :2] >= (window.x0, window.y0)).all(1) & (boxes[:, 2:] <= (window.x1, window.y1)).all(1)
            found.append(_faces(boxes[inside]))
        return found

    def look_again(self, areas: SummedAreas, places: np.ndarray) -> list[Faces]:
        found = zip(self.detect(areas, []), places, strict=True)
        return [_faces(faces.boxes[intersection_over_union(faces.boxes, place) > 0.5]) for faces, place in found]


def _faces(boxes: np.ndarray) -> Faces:
    return Faces(boxes, np.full(len(boxes), 0.9995, np.float32), boxes)


def small_model(architecture: str = "lstm", size: int = 16, frames: int = 60, **record: object) -> LoadedModel:
    """A model with random weights, always the same."""
    return new_model(architecture, SMALL[architecture], size, frames, **record)


def full_model(architecture: str) -> LoadedModel:
    """The same of the baseline's sizes."""
    return new_model(architecture, SIZES[architecture](), 64, 60)


def new_model(architecture, sizes, size, frames, **record) -> LoadedModel:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = build(architecture, sizes, frames, size, len(EMOTIONS)).eval()
    return LoadedModel(architecture, model, ModelRecord(architecture, sizes, frames, size, EMOTIONS, **record))
