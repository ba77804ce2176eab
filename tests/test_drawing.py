"""What is drawn on a frame: in the frame, clear of the faces and of each other."""

import numpy as np
import pytest

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.inference.drawing import TRACK_COLOURS, Annotator
from emotion_ray.inference.observation import FaceObservation, Observation, Prediction

PROBABILITIES = np.array([0.02, 0.05, 0.62, 0.03, 0.1, 0.08, 0.04, 0.06], np.float32)


def face(track: int, box: tuple, told: bool = True, found: bool = True, early: bool = False) -> FaceObservation:
    prediction = Prediction(1.0, PROBABILITIES, EMOTIONS, 24 if early else 60, early) if told else None
    return FaceObservation(track, np.array(box, np.float32), 0.99, found, 60 if told else 23, prediction)


def drawn(height: int, width: int, *faces: FaceObservation) -> np.ndarray:
    """The annotated frame; what was grey before was not drawn on."""
    frame = np.full((height, width, 3), 128, np.uint8)
    return Annotator(height, width, EMOTIONS, 60).draw(frame, Observation(0.0, list(faces)))


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture != 128).any(axis=2)


def test_without_a_face_nothing_is_drawn():
    assert not changed(drawn(360, 640)).any()


def test_the_frame_given_is_left_as_it_was():
    frame = np.full((360, 640, 3), 128, np.uint8)
    Annotator(360, 640, EMOTIONS, 60).draw(frame, Observation(0.0, [face(1, (200, 100, 300, 220))]))
    assert (frame == 128).all()


@pytest.mark.parametrize(("height", "width"), [(360, 480), (360, 640), (720, 1280), (1280, 720), (2160, 3840)])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.1, 0.2), (0.9, 0.8)])
def test_a_face_stays_free_and_has_its_panel_beside_it(height, width, place):
    side = min(height, width) * 0.25
    x, y = place[0] * width, place[1] * height
    box = np.clip((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0, (width, height, width, height))
    drawing = changed(drawn(height, width, face(1, tuple(box))))
    x0, y0, x1, y1 = box.round().astype(int)
    edge = max(round(min(height, width) / 100), 4)
    assert not drawing[y0 + edge : y1 - edge, x0 + edge : x1 - edge].any()
    drawing[max(y0 - edge, 0) : y1 + edge, max(x0 - edge, 0) : x1 + edge] = False
    assert drawing.sum() > 0.02 * min(height, width) ** 2


def test_panels_do_not_meet_nor_cover_another_face():
    boxes = [(40, 40, 110, 120), (230, 60, 300, 150), (450, 30, 520, 110), (100, 220, 170, 300), (400, 230, 470, 310)]
    faces = [face(index, box) for index, box in enumerate(boxes, start=1)]
    whole = changed(drawn(360, 640, *faces))
    for x0, y0, x1, y1 in boxes:
        assert not whole[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5].any()


def test_places_of_panels_are_apart():
    annotator = Annotator(360, 640, EMOTIONS, 60)
    boxes = [annotator._box(face(1, (60 + 110 * index, 100, 120 + 110 * index, 180))) for index in range(5)]
    places = annotator._places(boxes, boxes, [(100, 20)] * 5)
    for index, place in enumerate(places):
        assert place.is_within(360, 640)
        assert not any(place.meets(other) for other in [*boxes, *places[:index]])


@pytest.mark.parametrize("box", [(-30, -20, 60, 70), (600, 330, 700, 400), (-10, -10, 650, 370), (700, 400, 720, 420)])
def test_faces_at_and_past_the_edge_are_drawn(box):
    assert drawn(360, 640, face(1, box)).shape == (360, 640, 3)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 30), (1, 1)])
def test_tiny_frames_are_drawn(height, width):
    assert drawn(height, width, face(1, (2, 2, 12, 12))).shape == (height, width, 3)


def test_the_most_probable_bar_has_the_track_s_colour():
    picture = drawn(720, 1280, face(2, (500, 200, 700, 450)))
    in_colour = (picture[:, 720:] == TRACK_COLOURS[1]).all(axis=2)
    assert in_colour.sum() > 300
    before = drawn(720, 1280, face(2, (500, 200, 700, 450), told=False))
    assert (before[:, 720:] == TRACK_COLOURS[1]).all(axis=2).sum() < 0.2 * in_colour.sum()


def test_faces_that_were_not_found_and_early_estimates_look_different():
    box = (500, 200, 700, 450)
    pictures = [
        drawn(720, 1280, face(1, box, **how)) for how in ({}, {"found": False}, {"early": True}, {"told": False})
    ]
    for index, picture in enumerate(pictures):
        assert not any((picture == other).all() for other in pictures[:index])
