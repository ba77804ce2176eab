"""Folders in an object store that speaks S3: the same as on a disk, whole or not at all, and no secret is told."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
import s3_server
from noise_clip import noise_clip

from emotion_ray.cli import main
from emotion_ray.data.clips import read_clips, shard_names, write_shards
from emotion_ray.data.plan import Plan
from emotion_ray.data.prepared import (
    check_folder,
    count_clips,
    read_held,
    read_record,
    read_rejects,
    write_record,
    write_rejects,
)
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import Choice, RejectedTake
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.run_folder import open_run
from emotion_ray.settings import PrepareSettings, TrainRunSettings

PART = 5 * 2**20  # bytes: an upload travels in parts of as many


@pytest.fixture(scope="module")
def store():
    with s3_server.running() as running:
        yield running


@pytest.fixture
def bucket(store, monkeypatch) -> str:
    """The URI of an empty bucket."""
    for name, value in s3_server.environment(store.url).items():
        monkeypatch.setenv(name, value)
    return f"s3://{store.bucket()}"


def test_what_is_published_is_read_back(bucket):
    folder = Folder.at(f"{bucket}/not/there/yet")
    assert folder.names() == []
    assert not folder.exists("a/b.txt")
    folder.publish("a/b.txt", b"first")
    folder.publish("a/b.txt", pa.py_buffer(b"second"))
    folder.publish("a/.c.txt", b"hidden")
    assert not folder.is_local
    assert folder.exists("a/b.txt")
    assert not folder.exists("a")
    assert folder.read("a/b.txt") == b"second"
    assert Folder.at(f"{bucket}/not//there/").names(".txt") == ["yet/a/b.txt"]
    folder.remove("a/b.txt")
    folder.remove("a/b.txt")
    assert folder.names() == []
    with pytest.raises(FileNotFoundError):
        folder.read("a/b.txt")


def test_clips_are_the_same_as_on_a_disk(bucket, tmp_path):
    clips = [noise_clip(name) for name in "abc"]
    there, here = Folder.at(f"{bucket}/clips"), Folder.at(tmp_path)
    assert write_shards(there, clips) == write_shards(here, clips) == shard_names(there)
    read, expected = read_clips(there), read_clips(here)
    assert read.clip_id == expected.clip_id
    assert np.array_equal(read.frames, expected.frames)
    assert count_clips(there) == count_clips(here)


def test_preparing_takes_stock_of_a_bucket(bucket):
    folder = Folder.at(f"{bucket}/clips")
    record = {"schema_version": 1, "prepared_with": "x", "settings": {}, "versions": {}}
    check_folder(folder, record)
    write_record(folder, record)
    check_folder(folder, record)
    assert read_record(folder) == record
    rejected = RejectedTake("x.mp4", "x", "detect", "no_face", "no face")
    write_rejects(folder, [rejected])
    write_shards(folder, [noise_clip("a"), noise_clip("b")])
    write_shards(folder, [noise_clip("b")])  # twice, as two runs at once may leave it
    plan = Plan(Choice(None, (1,)), {}, [])
    plan.take_stock(folder)
    assert plan.held == {"a", "b"}
    assert plan.earlier == read_rejects(folder) == [rejected]
    assert sorted(read_held(folder)) == sorted(read_clips(folder).clip_id) == ["a", "b"]


def test_the_commands_read_clips_from_a_bucket(bucket, tmp_path, capsys):
    write_shards(Folder.at(f"{bucket}/clips"), [noise_clip("a")])
    assert main(["export", "--png", str(tmp_path / "png"), "--clips", f"{bucket}/clips"]) == 0
    assert len(list((tmp_path / "png").rglob("*.png"))) == 4


def test_a_root_may_be_a_bucket(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run, _ = open_run("train", TrainRunSettings(root=f"{bucket}/root", run="first"))
    run.note(begun=True)
    assert Folder.at(bucket).names() == ["root/runs/first/run.json"]
    again, settings = open_run("train", TrainRunSettings(root=f"{bucket}/root", resume=True))
    assert (again.name, again.path("x"), settings.run) == ("first", f"{bucket}/root/runs/first/x", "first")
    assert PrepareSettings(root=f"{bucket}/root").cache_folder == tmp_path / "emotion_ray" / "archives"
    assert PrepareSettings(root=str(tmp_path / "r")).cache_folder == tmp_path / "r" / "archives"


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    with pytest.raises(EmotionRayError, match=r"can't write x .*NO_SUCH_BUCKET: .*: check the bucket") as caught:
        Folder.at("s3://no-such-bucket/clips").publish("x", b"1")
    assert_one_plain_line(caught.value)


def test_keys_that_are_refused_are_not_told(bucket, store):
    folder = Folder.at(f"{bucket}/clips")
    folder.publish("x", b"1")
    attempts = [
        lambda: folder.publish("x", b"2"),
        lambda: folder.read("x"),
        lambda: folder.names(),
        lambda: folder.exists("x"),
        lambda: folder.remove("x"),
        lambda: read_clips(folder),
    ]
    with store.locked():
        for attempt in attempts:
            with pytest.raises(EmotionRayError, match=r"check the (bucket|network).* and the credentials") as caught:
                attempt()
            assert_one_plain_line(caught.value)
    assert folder.read("x") == b"1"


def assert_one_plain_line(error: Exception) -> None:
    assert "\n" not in str(error)
    assert "Request ID" not in str(error)
    assert "planted" not in str(error)
    assert "planted" not in repr(error.__cause__)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://planted-key:planted-secret@bucket/clips",
        "s3://planted-key:planted/secret@bucket/clips",
        "s3://bucket/clips?secret_key=planted",
        "s3://bucket/clips?X-Amz-Signature=planted",
        "s3://bucket/clips#planted",
        "gs://planted@bucket/clips",
        "abfs://container:planted@account/clips",
        "s3://",
    ],
)
@pytest.mark.parametrize("flag", ["--out", "--root"])
def test_a_uri_with_more_than_a_bucket_and_a_folder_is_refused_untold(uri, flag, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("path,label,actor\na.mp4,happy,1\n")
    assert main(["prepare", "--source", str(tmp_path / "a.csv"), flag, uri]) == 1
    output = capsys.readouterr()
    assert "planted" not in output.out + output.err
    assert output.err.count("\n") == 1


def test_a_folder_sent_to_a_worker_takes_no_keys_along(bucket):
    sent = pickle.dumps(Folder.at(f"{bucket}/clips"))
    assert b"planted" not in sent
    pickle.loads(sent).publish("x", b"1")  # noqa: S301 - our own
    assert Folder.at(f"{bucket}/clips").read("x") == b"1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut_after", "name"), [(PART // 2, "old.parquet"), (2 * PART + 1000, "new.parquet"), (4 * PART, "old.parquet")]
)
def test_a_line_that_is_cut_while_writing_leaves_what_was_there(bucket, store, monkeypatch, cut_after, name):
    whole = Folder.at(f"{bucket}/clips")
    whole.publish("old.parquet", b"old")
    line = s3_server.Line(store.url, cut_after)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
    content = bytes(range(256)) * (4 * PART // 256)  # the headers put the last cut into the last part
    folder = Folder.at(f"{bucket}/clips")
    try:
        with pytest.raises(EmotionRayError, match=rf"can't write {name} .*NETWORK_CONNECTION") as caught:
            folder.publish(name, content)
        assert_one_plain_line(caught.value)
        assert whole.names() == ["old.parquet"]
        assert whole.read("old.parquet") == b"old"
        line.cut_after = float("inf")
        folder.publish(name, content)
    finally:
        line.close()
    assert whole.read(name) == content


@pytest.mark.slow
def test_a_store_that_is_away_is_one_line(bucket, store, monkeypatch):
    line = s3_server.Line(store.url)
    line.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
    with pytest.raises(EmotionRayError, match=r"NETWORK_CONNECTION: .*check the network") as caught:
        Folder.at(f"{bucket}/clips").read("x")
    assert_one_plain_line(caught.value)
