"""The synthetic sample: its takes, its files, and that the emotion is to be seen in time alone."""

import hashlib
import json
import zipfile
from collections import Counter
from dataclasses import replace
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emotion_ray.data.archives import list_members, read_member
from emotion_ray.data.ravdess import EMOTIONS, RECORD, Code, archive_name
from emotion_ray.data.splits import actor_folds, random_split
from emotion_ray.data.takes import Choice, takes_in_archive
from emotion_ray.errors import EmotionRayError
from emotion_ray.sample import build, build_sample, planned_takes, render_take
from emotion_ray.sample.expressions import (
    FLUSH,
    LARGEST_FLUSH,
    MOVEMENTS,
    PARTS,
    PERIOD,
    RING,
    flush_in_time,
    movements_in_time,
)
from emotion_ray.sample.looks import look_of
from emotion_ray.sample.mirror import mirror
from emotion_ray.vision.faces import FaceFollower
from emotion_ray.vision.mtcnn import MTCNN
from emotion_ray.vision.video import Video

HAPPY = Code.parse("01-01-03-02-01-01-01")
TINY = [HAPPY, Code.parse("01-01-01-01-02-01-01"), Code.parse("01-01-05-01-01-02-02")]


@pytest.fixture(scope="module")
def happy() -> np.ndarray:
    return render_take(HAPPY)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A sample of three takes of two actors, built in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "planned_takes", lambda size: TINY)
        yield build_sample(tmp_path_factory.mktemp("sample") / "tiny", processes=1)


@pytest.mark.parametrize(("size", "actors", "takes"), [("demo", 4, 16), ("full", 8, 30)])
def test_the_takes_are_a_balanced_part_of_ravdess(size, actors, takes):
    codes = planned_takes(size)
    assert len(set(codes)) == len(codes)
    assert Counter(code.actor for code in codes) == dict.fromkeys(range(1, actors + 1), takes)
    by_emotion = Counter(code.emotion for code in codes)
    assert sorted(by_emotion) == list(range(len(EMOTIONS)))
    assert max(by_emotion.values()) - min(by_emotion.values()) <= 3
    assert {(code.modality, code.channel) for code in codes} == {(1, 1)}
    assert actor_folds(range(1, actors + 1), seed=0, ravdess=True)


@pytest.mark.slow
def test_a_take_is_the_same_again_and_unlike_any_other(happy):
    assert happy.dtype == np.uint8
    assert happy.shape[1:] == (360, 480, 3)
    assert 66 <= len(happy) <= 75
    np.testing.assert_array_equal(render_take(HAPPY), happy)
    for other in (render_take(HAPPY, seed=1), render_take(TINY[1]), render_take(TINY[2])):
        assert np.abs(other[30].astype(int) - happy[30]).mean() > 5


@pytest.mark.slow
def test_both_modalities_show_the_same_take(happy):
    silent = Code(2, *(getattr(HAPPY, field) for field in Code.__annotations__ if field != "modality"))
    np.testing.assert_array_equal(render_take(silent), happy)


@pytest.mark.slow
def test_archives_have_names_and_layout_of_ravdess(tiny):
    assert sorted(tiny.files) == [archive_name(1), archive_name(2)]
    for actor in (1, 2):
        takes, rejects = takes_in_archive(tiny.folder / archive_name(actor), Choice(None, (1,)))
        assert not rejects
        assert [take.clip_id for take in takes] == [code.clip_id for code in TINY if code.actor == actor]
        assert [take.member for take in takes] == [code.member for code in TINY if code.actor == actor]
    with zipfile.ZipFile(tiny.folder / archive_name(1)) as archive:
        assert archive.testzip() is None


@pytest.mark.slow
def test_the_index_lists_the_archives_as_zenodo_does(tiny):
    record = json.loads((tiny.folder / "index.json").read_text())
    assert record == tiny.as_record()
    for file in record["files"]:
        content = (tiny.folder / file["key"]).read_bytes()
        assert file["size"] == len(content)
        assert file["checksum"] == "md5:" + hashlib.md5(content).hexdigest()


@pytest.mark.slow
def test_a_member_is_h264_with_sound_that_looks_as_rendered(tiny, happy):
    path = tiny.folder / archive_name(1)
    content = read_member(path, list_members(path)[0][0])
    with Video(content, "take.mp4") as video:
        assert video.fps == pytest.approx(30000 / 1001)
        assert video._stream.codec_context.name == "h264"
        assert video._stream.codec_context.pix_fmt == "yuv420p"
        assert video._container.streams.audio[0].codec_context.name == "aac"
        decoded = np.stack([frame.rgb for frame in video.frames()])
    assert decoded.shape == happy.shape
    assert np.abs(decoded.astype(int) - happy).mean() < 4


@pytest.mark.slow
def test_a_complete_sample_is_left_as_it_is_and_a_lost_archive_made_anew(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "planned_takes", lambda size: TINY)
    calls = []
    assert build_sample(tiny.folder, progress=lambda *done: calls.append(done)) == tiny
    assert calls == []
    lost = tiny.folder / archive_name(2)
    before = lost.read_bytes()
    lost.unlink()
    assert build_sample(tiny.folder, progress=lambda *done: calls.append(done), processes=1) == tiny
    assert calls == [(3, 3)]
    assert lost.read_bytes() == before


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EmotionRayError, match="something else than a sample"):
        build_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_face_is_found_in_every_frame_of_a_take(happy):
    crops = list(FaceFollower(MTCNN(), "track").crops(happy[:60:3]))
    assert all(crop.found for crop in crops)
    widths = [crop.box[2] - crop.box[0] for crop in crops]
    assert 90 < min(widths) < max(widths) < 200


@pytest.mark.parametrize("emotion", range(len(EMOTIONS)))
def test_the_middle_shows_the_emotion_and_the_beginning_shows_rest(emotion):
    random = np.random.default_rng(0)
    code = Code(1, 1, emotion, 1, 1, 1, 1)
    mean = np.mean([movements_in_time(code, 66, random)[:PERIOD] for _ in range(300)], axis=0)
    movement, direction = RING[EMOTIONS[emotion]]
    expected = np.zeros(len(MOVEMENTS))
    expected[list(MOVEMENTS).index(movement)] = direction
    np.testing.assert_allclose(mean[PERIOD // 2], expected, atol=0.25)
    np.testing.assert_allclose(mean[0], 0, atol=0.06)


def test_each_emotion_but_neutral_flushes_in_one_half_of_its_takes_and_pales_in_the_other():
    assert tuple(PARTS) == EMOTIONS
    assert [emotion for emotion, spots in PARTS.items() if not spots] == ["neutral"]
    flushes = {code: flush_in_time(code, 66, seed=0) for code in planned_takes("full")}
    assert not any(flush[0] for flush in flushes.values())
    middle = {code: flush[PERIOD // 2] for code, flush in flushes.items()}
    assert max(np.abs(list(middle.values()))) < 2
    assert 0.04 < np.mean([flush == 0 for flush in middle.values()]) < 0.16
    first = {code: flush for code, flush in middle.items() if code.statement == 1}
    pairs = [(flush, middle[other]) for code, flush in first.items() if (other := replace(code, statement=2)) in middle]
    assert len(pairs) > 100
    assert all(flush == -other for flush, other in pairs)
    assert abs(sum(np.sign(flush) for flush, _ in pairs)) < 20


def test_a_part_of_the_face_can_pale_as_far_as_it_flushes():
    look = look_of(2, seed=0)
    reach = np.abs(look.flushes.astype(float)).max(axis=0) * LARGEST_FLUSH
    assert reach.max() > 90
    assert (look.picture - reach > -1).all() and (look.picture + reach < 256).all()


def test_the_parts_of_the_face_are_apart():
    flushes = look_of(1, seed=0).flushes[1:, ..., 1].astype(float)  # a flush takes green and blue away
    flat = flushes.reshape(len(flushes), -1)
    alike = np.corrcoef(flat)[~np.eye(len(flat), dtype=bool)]
    assert flat.min(axis=1).max() < 0.7 * FLUSH[1]
    assert alike.max() < 0.6


def test_mean_picture_and_first_picture_do_not_tell_the_emotion():
    """The four movements' states are what faces are made of: linear probes on 960 takes' states see nothing.

    `benchmarks/sample_difficulty.py` does the same with the pixels of the full sample.
    """
    random = np.random.default_rng(0)
    codes = planned_takes("full") * 4
    labels = np.array([code.emotion for code in codes])
    states = np.stack([movements_in_time(code, 66, random)[:PERIOD] for code in codes])
    assert states.shape == (960, PERIOD, len(MOVEMENTS))
    views = {"mean": states.mean(axis=1), "first": states[:, 0], "middle": states[:, PERIOD // 2]}
    split = random_split(labels, seed=0)
    accuracy = {}
    for view, features in views.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[split.train], labels[split.train])
        accuracy[view] = probe.score(features[split.test], labels[split.test])
    assert accuracy["mean"] < 0.25
    assert accuracy["first"] < 0.25
    assert accuracy["middle"] > 0.6


@pytest.mark.slow
def test_the_mirror_shows_its_files_and_no_folder(tiny):
    with mirror(tiny.folder) as address:
        files = f"{address}/records/{RECORD}/files"
        with urlopen(f"{files}/{next(iter(tiny.files))}", timeout=10) as answer:
            assert answer.status == 200
        for other in ("", "..", ".", "none.zip"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{files}/{other}", timeout=10)
