"""The engine on the model's frames: windows, tracks and times. What is said of real video is in test_stream_parity."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted_faces import ScriptedDetector, scripted_frame, small_model

from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.followed_faces import GONE_AFTER
from emotion_ray.inference.stream import EmotionStream, Observation
from emotion_ray.vision.video import RATE

pytestmark = pytest.mark.usefixtures("one_thread")

LEFT, RIGHT = (10, 20, 40, 55), (80, 20, 110, 55)


def always(*boxes):
    return lambda index: boxes


def run(
    script, count: int, together: int = 8, fps: float = float(RATE), architecture: str = "lstm", **settings
) -> list[Observation]:
    """The observations of `count` frames, and of the end."""
    stream = EmotionStream(ScriptedDetector(script), small_model(architecture), **settings)
    observations = []
    for start in range(0, count, together):
        indices = range(start, min(start + together, count))
        observations += stream.push([scripted_frame(index) for index in indices], [index / fps for index in indices])
    return [*observations, stream.finish(fps)]


def predictions(observations: list[Observation], track: int = 1) -> list:
    """Each prediction of a track once, with the number of frames pushed until then."""
    told, last = [], None
    for count, observation in enumerate(observations, start=1):
        for face in observation.faces:
            if face.track == track and face.prediction is not None and face.prediction is not last:
                last = face.prediction
                told.append((count, last))
    return told


def tracks(observation: Observation) -> list[int]:
    return [face.track for face in observation.faces]


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({}, [60, 70, 80, 90]),
        ({"stride": 25}, [60, 85]),
        ({"stride": 1}, list(range(60, 96))),
        ({"early": 20}, [20, 30, 40, 50, 60, 70, 80, 90]),
        ({"early": 45, "stride": 40}, [45, 60]),
    ],
)
def test_a_face_is_classified_when_it_has_its_frames_and_each_stride_after(settings, at):
    told = predictions(run(always(LEFT), 95, together=1, **settings)[:-1])
    assert [count for count, _ in told] == [count for count in at if count <= 95]
    for count, prediction in told:
        assert prediction.frames == min(count, 60)
        assert prediction.early == (count < 60)
        assert prediction.time == pytest.approx((count - 1) / float(RATE))
        assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert prediction.label == prediction.labels[prediction.probabilities.argmax()]


def test_the_buffer_fills_and_stays_full():
    observations = run(always(LEFT), 70)[:-1]
    assert [one.faces[0].buffered for one in observations] == [min(count, 60) for count in range(1, 71)]
    assert all(one.faces[0].prediction is None for one in observations[:59])


@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_a_frame_goes_through_the_backbone_once_and_the_logits_are_the_window_s(architecture, monkeypatch):
    """Every prediction against the whole window of crops put through the whole model."""
    from emotion_ray.inference.classification import WindowClassifier
    from emotion_ray.models.backbone import to_input

    crops, encode = [], WindowClassifier.encode

    def recording(self, pixels):
        crops.extend(np.array(pixel) for pixel in pixels)
        return encode(self, pixels)

    monkeypatch.setattr(WindowClassifier, "encode", recording)
    told = predictions(run(always(LEFT), 85, together=5, architecture=architecture, early=20))
    assert len(crops) == 85
    model = small_model(architecture).model
    for count, prediction in told:
        window = torch.from_numpy(np.stack(crops[max(count - 60, 0) : count]))[None]
        with torch.no_grad():
            whole = torch.softmax(model(to_input(window)), 1)[0].numpy()
        assert np.abs(prediction.probabilities - whole).max() < 1e-4
        if architecture == "lstm":
            assert prediction.attention is None
        else:
            assert prediction.attention.shape == (min(count, 60),)
            assert prediction.attention.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_how_many_frames_are_pushed_at_a_time_changes_nothing(architecture):
    def script(index):  # one comes late, one goes for a while, all move
        moved = index / 4
        yield (10 + moved, 20, 40 + moved, 55)
        if index >= 37 and not 50 <= index < 60:
            yield (70 + moved, 20, 100 + moved, 55)

    runs = [run(script, 110, together, architecture=architecture, early=12) for together in (1, 7, 110)]
    for one, *others in zip(*runs, strict=True):
        for other in others:
            assert tracks(one) == tracks(other)
            for face, same in zip(one.faces, other.faces, strict=True):
                assert (face.box == same.box).all()
                assert (face.found, face.buffered) == (same.found, same.buffered)
                assert (face.prediction is None) == (same.prediction is None)
                if face.prediction is not None:
                    assert face.prediction.time == same.prediction.time
                    assert np.abs(face.prediction.probabilities - same.prediction.probabilities).max() < 1e-4


def test_a_recorded_temperature_is_used():
    [(_, plain)] = predictions(run(always(LEFT), 60)[:-1])
    stream = EmotionStream(ScriptedDetector(always(LEFT)), small_model(calibration={"temperature": 4.0}))
    frames = [scripted_frame(index) for index in range(60)]
    softened = stream.push(frames, [index / float(RATE) for index in range(60)])[-1].faces[0].prediction
    expected = plain.probabilities**0.25
    assert softened.probabilities == pytest.approx(expected / expected.sum(), abs=1e-5)


@pytest.mark.parametrize(("fps", "looked_at"), [(10.0, 21), (30.0, 60), (60.0, 60)])
def test_the_model_gets_29_97_frames_a_second_of_any_rate(fps, looked_at):
    """Of a slow source a frame stands for several; of a fast one, some for none; no frame is looked at twice."""
    detector = ScriptedDetector(always(LEFT))
    stream = EmotionStream(detector, small_model())
    for index in range(round(2 * fps) + 1):
        [last] = stream.push([scripted_frame(index)], [index / fps])
    assert last.faces[0].buffered == 60
    assert len(set(detector.looks)) == looked_at


def test_two_faces_have_a_window_each():
    observations = run(lambda index: [LEFT] if index < 30 else [LEFT, RIGHT], 100)
    assert tracks(observations[29]) == [1]
    assert tracks(observations[-1]) == [1, 2]
    first, second = observations[-2].faces
    assert (first.buffered, second.buffered) == (60, 60)
    assert [count for count, _ in predictions(observations, 2)] == [90, 100]
    assert first.box == pytest.approx(LEFT)
    assert second.box == pytest.approx(RIGHT)
    assert np.abs(first.prediction.probabilities - second.prediction.probabilities).max() > 0


def test_no_more_faces_are_followed_than_allowed_the_larger_ones_first():
    boxes = [(4, 10, 24, 34), (30, 10, 60, 46), (70, 10, 96, 42)]
    assert len(run(always(*boxes), 3)[-1].faces) == 3
    two = run(always(*boxes), 3, max_faces=2)[-1].faces
    assert [face.box.tolist() for face in two] == [list(boxes[1]), list(boxes[2])]


def test_a_face_that_is_away_for_a_moment_keeps_its_number():
    observations = run(lambda index: [] if 20 <= index < 40 else [LEFT], 70)
    assert all(tracks(one) == [1] for one in observations)
    away = observations[25].faces[0]
    assert not away.found
    assert away.prob == 0
    assert away.box == pytest.approx(LEFT)


def test_a_face_that_is_gone_for_long_is_another_one_when_it_returns():
    observations = run(lambda index: [] if 20 <= index < 70 else [LEFT], 90)
    assert tracks(observations[20 + GONE_AFTER]) == [1]
    assert tracks(observations[20 + GONE_AFTER + 1]) == []
    assert tracks(observations[-1]) == [2]


def test_a_face_seen_too_briefly_gets_an_estimate_when_it_goes():
    observations = run(lambda index: [LEFT] if index < 25 else [], 100)
    [(count, prediction)] = predictions(observations)
    assert count == 25 + GONE_AFTER + 1
    assert prediction.early
    assert prediction.frames == 25


def test_somebody_who_disappears_beside_another_does_not_become_that_other():
    """The follower of the one that is gone comes upon the other's face, which stays the other's."""
    passing = [(30 + index, 20, 60 + index, 55) for index in range(30)]

    def script(index):
        yield RIGHT
        if index < 30:
            yield passing[index]

    observations = run(script, 80)
    numbers = {track for one in observations for track in tracks(one)}
    assert numbers == {1, 2}
    stayed = next(face.track for face in observations[0].faces if face.box[0] == RIGHT[0])
    assert tracks(observations[-1]) == [stayed]


def test_where_most_frames_miss_the_face_nothing_is_said():
    """As in training, where that is no clip."""
    assert predictions(run(lambda index: [LEFT] if index % 3 == 0 else [], 70)) == []
    assert predictions(run(lambda index: [] if index % 3 == 0 else [LEFT], 70)) != []


def test_at_the_end_a_face_gets_what_its_frames_allow():
    *_, last, end = run(always(LEFT), 30)
    assert last.faces[0].prediction is None
    assert end.faces[0].prediction.early
    assert end.faces[0].prediction.frames == 30
    [_, end] = run(always(LEFT), 1)
    assert end.faces[0].prediction.frames == 1


def test_nothing_comes_of_nothing():
    stream = EmotionStream(ScriptedDetector(always()), small_model())
    assert stream.push([], []) == []
    assert stream.finish() is None
    assert stream.push([scripted_frame(0)], [0.0])[0].faces == []
    assert stream.finish().faces == []
    assert stream.finish() is None


def test_after_the_end_another_video_begins():
    stream = EmotionStream(ScriptedDetector(always(LEFT)), small_model())
    stream.push([scripted_frame(0)], [5.0])
    stream.finish()
    [first] = stream.push([scripted_frame(1)], [0.0])
    assert tracks(first) == [2]
    assert first.faces[0].buffered == 1


@pytest.mark.parametrize("change", ["pause", "size"])
def test_after_a_pause_or_a_change_of_size_the_faces_are_new(change):
    stream = EmotionStream(ScriptedDetector(always(LEFT)), small_model())
    stream.push([scripted_frame(0), scripted_frame(1)], [100.0, 100.03])
    frame = scripted_frame(2)[:, :-2] if change == "size" else scripted_frame(2)
    [after] = stream.push([frame], [200.0 if change == "pause" else 100.07])
    assert tracks(after) == [2]
    assert after.faces[0].buffered == 1


def test_times_may_begin_anywhere():
    stream = EmotionStream(ScriptedDetector(always(LEFT)), small_model())
    began = 1.7e9
    observations = stream.push(
        [scripted_frame(index) for index in range(60)], [began + index / float(RATE) for index in range(60)]
    )
    assert observations[-1].faces[0].prediction.time == observations[-1].time == pytest.approx(began + 59 / float(RATE))


@pytest.mark.parametrize(
    ("frame", "time", "says"),
    [
        (np.zeros((4, 4), np.uint8), 1.0, "push uint8"),
        (np.zeros((4, 4, 3), np.float32), 1.0, "push uint8"),
        (np.zeros((0, 4, 3), np.uint8), 1.0, "push uint8"),
        (scripted_frame(1), 0.5, "in order"),
        (scripted_frame(1), float("nan"), "in order"),
    ],
)
def test_frames_of_another_form_and_times_that_run_back_are_refused(frame, time, says):
    stream = EmotionStream(ScriptedDetector(always(LEFT)), small_model())
    stream.push([scripted_frame(0)], [1.0])
    with pytest.raises(EmotionRayError, match=says):
        stream.push([frame], [time])


@pytest.mark.parametrize("name", ["stride", "early", "max_faces"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(EmotionRayError, match=f"{name} is 0"):
        EmotionStream(ScriptedDetector(always()), small_model(), **{name: 0})


def test_exact_has_one_face_the_largest():
    larger = (70, 10, 120, 65)
    observations = run(always(LEFT, larger), 5, detector="exact")
    assert all(len(one.faces) == 1 and one.faces[0].box.tolist() == list(larger) for one in observations)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory there is in use")
def test_an_hour_takes_no_more_memory_than_some_minutes():
    """A frame in two seconds, which stands for sixty of the model's; of two faces one comes and goes."""
    detector = ScriptedDetector(lambda index: [LEFT, RIGHT] if index < 32 else [LEFT])
    detector.looks = _Forgetful()
    stream = EmotionStream(detector, small_model(), stride=600)
    frames = [scripted_frame(index) for index in range(64)]

    def go_on(first: int, count: int) -> int:
        for index in range(first, first + count):
            stream.push([frames[index % 64]], [index * 2.0])
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    minutes = go_on(0, 128)
    hour = go_on(128, 1_800)
    assert hour - minutes < 4_000_000  # the frames alone are 50 MB


class _Forgetful(list):
    def append(self, _: object) -> None:
        pass


@pytest.mark.parametrize("fps", [7.5, 10.0, 15.0, 29.97])
def test_a_face_that_goes_before_it_has_its_frames_gets_an_estimate_at_any_rate(fps):
    """Where a picture stands for several of the model's frames, the face may end at any of them."""
    observations = run(lambda index: [LEFT] if index < 0.6 * fps else [], round(3 * fps), fps=fps)
    [(_, told)] = predictions(observations)
    assert told.early and told.frames == pytest.approx(18, abs=3)
    assert tracks(observations[-1]) == []


def test_the_last_frame_stands_for_two_seconds_at_most():
    stream = EmotionStream(ScriptedDetector(always(LEFT)), small_model())
    stream.push([scripted_frame(0)], [0.0])
    assert stream.finish(1e-6).faces[0].buffered == 60
