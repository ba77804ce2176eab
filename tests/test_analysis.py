"""A whole video: what comes of each frame, and of all."""

import json

import numpy as np
import pytest
from counted_video import counted_video
from portrait_video import portrait_video, sound_only
from scripted_faces import small_model

from emotion_ray.errors import Reject
from emotion_ray.inference.analysis import Analysis, analyse
from emotion_ray.inference.stream import EmotionStream

pytestmark = pytest.mark.usefixtures("one_thread")


def analysed(content: bytes, mtcnn, **limits) -> tuple[Analysis, list]:
    stream = EmotionStream(mtcnn, small_model())
    analysis = Analysis("take.mp4", stream.labels)
    return analysis, list(analyse(content, "take.mp4", stream, analysis, **limits))


@pytest.mark.slow
def test_a_long_take_is_told_of_by_its_full_windows(mtcnn):
    analysis, pairs = analysed(portrait_video(85), mtcnn)
    told = analysis.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["frames"], told["warnings"]) == (85, [])
    assert told["fps"] == pytest.approx(29.97)
    assert told["seconds"] == pytest.approx(85 / 29.97, abs=0.01)
    [face] = told["faces"]
    assert [one["time"] for one in face["timeline"]] == pytest.approx([59 / 29.97, 69 / 29.97, 79 / 29.97], abs=0.002)
    assert not face["early"]
    overall = np.mean([list(one["probabilities"].values()) for one in face["timeline"]], axis=0)
    assert list(face["probabilities"].values()) == pytest.approx(list(overall), abs=1e-5)
    assert face["label"] == analysis.labels[overall.argmax()]
    assert [frame.time for frame, _ in pairs] == pytest.approx([one.time for _, one in pairs])
    assert len(pairs) == 85


@pytest.mark.parametrize("frames", [1, 30, 59])
def test_a_short_take_gets_an_early_estimate(mtcnn, frames):
    analysis, pairs = analysed(portrait_video(frames), mtcnn)
    [face] = analysis.as_dict()["faces"]
    assert face["early"]
    [estimate] = face["timeline"]
    assert estimate["early"]
    assert pairs[-1][1].faces[0].prediction.frames == frames
    assert len(pairs) == frames


@pytest.mark.parametrize("frames", [50, 51, 52])
def test_a_face_that_is_given_up_with_the_last_frame_is_told_of_too(mtcnn, frames):
    """Thirty frames after it was last seen, of which the 31st is the 51st here."""
    analysis, pairs = analysed(portrait_video(frames, seen=20), mtcnn)
    [face] = analysis.as_dict()["faces"]
    assert len(face["timeline"]) == 1 and face["early"]
    assert len(pairs) == frames


def test_full_windows_outweigh_early_estimates(mtcnn):
    stream = EmotionStream(mtcnn, small_model(), early=20)
    analysis = Analysis("take", stream.labels)
    list(analyse(portrait_video(64), "take", stream, analysis))
    summary = analysis.faces[1]
    assert [one.early for one in summary.timeline] == [True] * 4 + [False]
    assert (summary.probabilities == summary.timeline[-1].probabilities).all()


def test_a_video_without_a_face_says_so(mtcnn):
    analysis, pairs = analysed(portrait_video(15, face=False), mtcnn)
    assert analysis.as_dict()["faces"] == []
    assert analysis.warnings == ["no face was found in take.mp4"]
    assert len(pairs) == 15


def test_of_a_file_that_is_cut_off_what_is_left_is_used(mtcnn):
    content = portrait_video(70)
    analysis, pairs = analysed(content[: len(content) * 2 // 3], mtcnn)
    assert 20 < len(pairs) < 70
    assert analysis.as_dict()["faces"][0]["timeline"]
    [warning] = analysis.warnings
    assert f"cut off after {len(pairs)} frames" in warning


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (b"this is a text\n" * 100, "not_a_video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not_a_video"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not_a_video"),
        (sound_only(), "no_picture"),
    ],
)
def test_what_is_no_video_is_refused(mtcnn, content, reason):
    with pytest.raises(Reject) as refused:
        analysed(content, mtcnn)
    assert refused.value.reason == reason


@pytest.mark.parametrize("limit", [{"max_frames": 9}, {"max_seconds": 0.29}])
def test_a_longer_video_than_allowed_is_refused(mtcnn, limit):
    with pytest.raises(Reject) as refused:
        analysed(counted_video("mp4", 20), mtcnn, **limit)
    assert refused.value.reason == "too_long"
    assert len(analysed(counted_video("mp4", 9), mtcnn, **limit)[1]) == 9
