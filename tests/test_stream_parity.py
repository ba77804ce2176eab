"""The engine on real and rendered video against the code that makes the training clips."""

from pathlib import Path

import numpy as np
import pytest
import torch
from face_scenes import grey, scene
from portrait_video import portrait_video
from scripted_faces import full_model, small_model

from emotion_ray.data.takes import Take
from emotion_ray.inference.analysis import Analysis, analyse
from emotion_ray.inference.classification import WindowClassifier
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.models.backbone import to_input
from emotion_ray.settings import CropSettings
from emotion_ray.vision.clipping import make_clip
from emotion_ray.vision.video import RATE, Video

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def crops(monkeypatch) -> list[np.ndarray]:
    """What goes to the model, uint8 [S, S, 3] each."""
    seen, encode = [], WindowClassifier.encode

    def recording(self, pixels):
        seen.extend(np.array(pixel) for pixel in pixels)
        return encode(self, pixels)

    monkeypatch.setattr(WindowClassifier, "encode", recording)
    return seen


def clip_of(content: bytes, mtcnn, size: int = 64):
    take = Take("take", 1, 0, None, None, None, None, "take.mp4")
    return make_clip(take, content, 0, CropSettings(size=size), mtcnn)


def check_first_window(content: bytes, mtcnn, loaded, crops) -> None:
    """The first 60 crops are the clip's bit for bit; the first prediction is the model's of the clip."""
    clip = clip_of(content, mtcnn, loaded.model.size)
    assert clip.num_frames == 60
    crops.clear()
    observations = [one for _, one in analyse(content, "take.mp4", EmotionStream(mtcnn, loaded))]
    assert (np.stack(crops[:60]) == clip.frames).all()
    assert {face.track for one in observations for face in one.faces} == {1}
    first = next(one.faces[0].prediction for one in observations if one.faces[0].prediction is not None)
    with torch.no_grad():
        whole = torch.softmax(loaded.model(to_input(torch.from_numpy(clip.frames))[None]), 1)[0].numpy()
    assert not first.early
    assert np.abs(first.probabilities - whole).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_a_rendered_take_gives_the_crops_and_logits_of_its_clip(mtcnn, architecture, crops):
    check_first_window(portrait_video(64), mtcnn, small_model(architecture), crops)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["01/sample_02.mp4", "02/sample_03.mp4"])
@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_a_real_take_gives_the_crops_and_logits_of_its_clip(mtcnn, real_clips, name, architecture, crops):
    check_first_window(real_clips[name].read_bytes(), mtcnn, full_model(architecture), crops)


@pytest.mark.slow
def test_live_pushes_say_what_a_whole_video_says(mtcnn, real_clips):
    content = real_clips["02/sample_03.mp4"].read_bytes()
    loaded = small_model("attention", size=64)
    together = [one for _, one in analyse(content, "take.mp4", EmotionStream(mtcnn, loaded))]
    live = EmotionStream(mtcnn, loaded)
    with Video(content, "take.mp4") as video:
        singly = [one for frame in video.frames() for one in live.push([frame.rgb], [frame.time])]
    for one, other in zip(together[:-1], singly[:-1], strict=True):
        [face], [same] = one.faces, other.faces
        assert np.abs(face.box - same.box).max() < 0.01
        if face.prediction is not None:
            assert np.abs(face.prediction.probabilities - same.prediction.probabilities).max() < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_real_clip_has_one_face(mtcnn, real_clips):
    for name, path in real_clips.items():
        analysis = Analysis(name, small_model().record.labels)
        for _ in analyse(Path(path).read_bytes(), name, EmotionStream(mtcnn, small_model()), analysis):
            pass
        assert list(analysis.faces) == [1], name
        assert analysis.faces[1].first_s == 0
        assert analysis.faces[1].timeline


def test_two_real_faces_are_followed_side_by_side(mtcnn):
    stream = EmotionStream(mtcnn, small_model())
    frames = [scene((0.8, 130 + 2 * index, 170), (0.7, 480 - 2 * index, 190)) for index in range(20)]
    observations = stream.push(frames, [index / float(RATE) for index in range(20)])
    assert all(
        [face.track for face in one.faces] == [1, 2] and all(face.found for face in one.faces) for one in observations
    )
    first, second = observations[-1].faces
    assert (first.box[0] + first.box[2]) / 2 == pytest.approx(168, abs=10)
    assert (second.box[0] + second.box[2]) / 2 == pytest.approx(442, abs=10)


def test_ten_faces_are_found(mtcnn):
    places = [(0.42, 70 + 125 * column, 90 + 170 * row) for row in range(2) for column in range(5)]
    stream = EmotionStream(mtcnn, small_model(), max_faces=12)
    [observation] = stream.push([scene(*places)], [0.0])
    assert len(observation.faces) == 10
    assert len(EmotionStream(mtcnn, small_model(), max_faces=8).push([scene(*places)], [0.0])[0].faces) == 8


def test_where_nobody_is_there_are_no_faces(mtcnn):
    stream = EmotionStream(mtcnn, small_model())
    assert all(not one.faces for one in stream.push([grey()] * 12, [index / 30 for index in range(12)]))
    [*_, last] = stream.push([scene((1, 200, 180))] * 5, [0.4 + index / 30 for index in range(5)])
    assert len(last.faces) == 1
