"""The stages of preparing by themselves, where something goes wrong that no take is to blame for."""

from types import SimpleNamespace

import pytest
from noise_clip import noise_clip

from emotion_ray.data.plan import Work
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import Choice, Take
from emotion_ray.distributed import crop_stage
from emotion_ray.distributed.crop_graph import Graph
from emotion_ray.distributed.crop_stage import CropStage
from emotion_ray.distributed.fetch_stage import Failed, FetchStage, OnDisk
from emotion_ray.distributed.shared_folder import Mark
from emotion_ray.distributed.write_stage import WriteStage
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import CropSettings

pytestmark = pytest.mark.ray

TALLY = SimpleNamespace(add=SimpleNamespace(remote=lambda **counts: None))


def take(clip_id, path):
    return Take(clip_id, 1, 0, None, None, None, None, str(path))


def test_a_machine_without_the_detectors_weights_says_so(monkeypatch):
    def missing():
        raise EmotionRayError("the detector's weights are missing: pip install facenet-pytorch")

    monkeypatch.setattr(crop_stage, "_detector", missing)
    stage, item = CropStage(CropSettings(), 60.0, TALLY), OnDisk(take("a", "/videos/a.mp4"), None)
    assert stage._cropped(item, None) == Failed("the detector's weights are missing: pip install facenet-pytorch")


def test_a_file_that_no_path_can_name_costs_no_neighbour(tmp_path):
    (tmp_path / "b.mp4").write_bytes(b"video")
    takes = (take("a", "/videos/\0.mp4"), take("b", tmp_path / "b.mp4"))
    stage = FetchStage(tmp_path, Choice(None, (1,)), False, TALLY)
    (rejected, _), (encoded, content) = stage._items(Work(takes=takes))
    assert (rejected.clip_id, rejected.reason) == ("a", "unreadable")
    assert (encoded.take.clip_id, content) == ("b", b"video")


def test_a_store_that_does_not_answer_is_not_called_another_folder(tmp_path, monkeypatch):
    def away(*_):
        raise EmotionRayError("can't read s3://bucket: no route")

    monkeypatch.setattr(Folder, "read", away)
    mark = Mark(Folder.at(tmp_path), "--out", "probe", "token")
    (row,) = WriteStage(Folder.at(tmp_path), mark).write({"item": [noise_clip("a")]})
    assert row["item"] == [Failed("can't read s3://bucket: no route")]


def test_an_archive_on_a_slow_line_may_take_hours(tmp_path):
    graph = Graph(
        folder=Folder.at(tmp_path),
        mark=None,
        cache=tmp_path,
        one_disk=True,
        crop=CropSettings(),
        choice=Choice(None, (1,)),
        tally=TALLY,
        workers=1,
        downloads=1,
        take_timeout_s=60.0,
    )
    assert graph._context().execution_no_progress_timeout_s == -1
