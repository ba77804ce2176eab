import csv
import io
import json

import cv2
import numpy as np
import pytest

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.inference.analysis import Analysis
from emotion_ray.inference.observation import FaceObservation, Observation, Prediction
from emotion_ray.inference.timeline import MOST_DRAWN, as_csv, as_json_lines, picture


def analysis(faces: int = 2, name: str = "take.mp4", told: bool = True) -> Analysis:
    """Of three seconds; each face is told of at 2 s and at 2.5 s."""
    made = Analysis(name, EMOTIONS)
    made.fps, made.seconds = 30.0, 3.0
    for time in (0.0, 2.0, 2.5, 2.97):
        seen = []
        for track in range(1, faces + 1):
            probabilities = np.roll(np.array([0.65, *[0.05] * 7], np.float32), track + int(time >= 2.5))
            prediction = Prediction(min(time, 2.5), probabilities, EMOTIONS, 60, False) if told and time else None
            if time == 2.97 and told:
                prediction = made.faces[track].timeline[-1]
            seen.append(FaceObservation(track, np.zeros(4, np.float32), 1.0, True, 60, prediction))
        made.add(Observation(time, seen))
    return made


def test_json_lines_hold_each_prediction_once_in_the_order_of_time():
    rows = [json.loads(line) for line in as_json_lines(analysis()).splitlines()]
    assert [(row["time"], row["track"]) for row in rows] == [(2.0, 1), (2.0, 2), (2.5, 1), (2.5, 2)]
    assert [row["label"] for row in rows] == ["calm", "happy", "happy", "sad"]
    for row in rows:
        assert row["frames"] == 60
        assert row["early"] is False
        assert list(row["probabilities"]) == list(EMOTIONS)
        assert row["probabilities"][row["label"]] == pytest.approx(0.65)


def test_csv_holds_the_same():
    rows = list(csv.DictReader(io.StringIO(as_csv(analysis()))))
    assert [(float(row["time"]), int(row["track"]), row["label"]) for row in rows] == [
        (2.0, 1, "calm"),
        (2.0, 2, "happy"),
        (2.5, 1, "happy"),
        (2.5, 2, "sad"),
    ]
    assert float(rows[0]["calm"]) == pytest.approx(0.65)
    assert rows[0]["early"] == "0"


def test_without_a_face_the_tables_are_empty():
    assert as_json_lines(analysis(0)) == ""
    assert as_csv(analysis(0)).count("\n") == 1


def decoded(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("faces", [0, 1, 3])
def test_a_picture_is_drawn(faces):
    image = decoded(picture(analysis(faces)))
    assert image.shape[1] > 800
    assert image.std() > 5


@pytest.mark.slow
def test_a_picture_grows_with_the_faces_up_to_a_limit():
    one, three = (decoded(picture(analysis(count))).shape[0] for count in (1, 3))
    assert three > 2 * one
    assert decoded(picture(analysis(MOST_DRAWN + 5))).shape == decoded(picture(analysis(MOST_DRAWN))).shape


@pytest.mark.parametrize("name", ["$x^{2$.mp4", "tab\tand\nline.mp4", "Gesicht ä 顔.mp4"])
def test_any_name_of_a_file_can_be_a_title(name):
    assert picture(analysis(1, name))


def test_a_face_of_which_nothing_was_said_is_drawn():
    assert picture(analysis(1, told=False))
