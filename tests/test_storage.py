"""Folders: a file is there whole or not at all."""

import errno
import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_published_is_read_back(tmp_path):
    folder = Folder.at(tmp_path / "not" / "there" / "yet")
    folder.publish("a/b.txt", b"first")
    folder.publish("a/b.txt", pa.py_buffer(b"second"))
    assert folder.exists("a/b.txt")
    assert not folder.exists("a")
    assert folder.read("a/b.txt") == b"second"
    assert everything_in(tmp_path) == ["not/there/yet/a/b.txt"], "nothing else is left"


def test_a_uri_and_a_path_are_the_same_folder(tmp_path):
    Folder.at(f"file://{tmp_path}").publish("x", b"1")
    assert Folder.at(str(tmp_path)).read("x") == b"1"
    assert Folder.at(tmp_path).is_local
    assert Folder.at(f"file://{tmp_path}").is_local


def test_a_relative_path_stays_where_it_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Folder.at("here")
    monkeypatch.chdir("/")
    folder.publish("x", b"1")
    assert everything_in(tmp_path) == ["here/x"]


def test_a_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Folder.at("~/clips").publish("x", b"1")
    assert everything_in(tmp_path) == ["clips/x"]


def test_the_home_of_nobody_is_told_in_one_line():
    with pytest.raises(EmotionRayError, match=r"^~nobody-here/clips: there is no user of that"):
        Folder.at("~nobody-here/clips")


@pytest.mark.parametrize("uri", ["nonsense://bucket/x", "http://host/x", "://"])
def test_a_uri_of_an_unknown_kind_is_refused_in_one_line(uri):
    with pytest.raises(EmotionRayError, match="use a path, file://, s3:// or gs://") as caught:
        Folder.at(uri)
    assert "\n" not in str(caught.value)


def test_names_are_sorted_relative_and_without_what_was_cut_off(tmp_path):
    folder = Folder.at(tmp_path)
    assert folder.names(below="shards") == []
    for name in ("shards/b.parquet", "shards/Actor_01/a.parquet", "shards/notes.txt", "other.parquet"):
        folder.publish(name, b"x")
    (tmp_path / "shards" / ".c.parquet.1234.part").write_bytes(b"half")
    (tmp_path / "shards" / ".c.parquet").write_bytes(b"half")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.parquet").write_bytes(b"x")
    assert folder.names(".parquet", below="shards") == ["shards/Actor_01/a.parquet", "shards/b.parquet"]
    assert folder.names(".parquet") == ["other.parquet", "shards/Actor_01/a.parquet", "shards/b.parquet"]


def test_names_below_a_hidden_folder_are_seen(tmp_path):
    folder = Folder.at(tmp_path / ".cache" / "clips")
    folder.publish("x", b"1")
    assert folder.names() == ["x"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    folder = Folder.at(tmp_path)
    contents = [bytes([i]) * 300_000 for i in range(2)]
    folder.publish("x", contents[0])
    seen = set()
    stop = threading.Event()

    def read():
        while not stop.is_set():
            seen.add(folder.read("x"))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(60):
        folder.publish("x", contents[i % 2])
    stop.set()
    reader.join()
    assert seen <= set(contents)


def test_a_write_that_fails_at_its_end_leaves_the_old_file(tmp_path, monkeypatch):
    folder = Folder.at(tmp_path)
    folder.publish("x", b"old")

    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EmotionRayError, match="can't write x"):
        folder.publish("x", b"new")
    assert folder.read("x") == b"old"
    assert everything_in(tmp_path) == ["x"]


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmpfs):
    disk = tmpfs("size=64k")
    folder = Folder.at(disk)
    folder.publish("kept", b"x" * 1000)
    with pytest.raises(EmotionRayError, match="No space left on device; free space") as caught:
        folder.publish("large", b"x" * 200_000)
    assert str(disk) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert everything_in(disk) == ["kept"]


def test_a_read_only_folder_is_a_clear_error(tmpfs):
    with pytest.raises(EmotionRayError, match=r"Read-only file system; .*give another folder"):
        Folder.at(tmpfs("ro")).publish("x", b"1")


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    folder = Folder.at(tmp_path / "taken")
    with pytest.raises(EmotionRayError, match="give another folder"):
        folder.publish("x", b"1")
    with pytest.raises(EmotionRayError, match="taken is no folder"):
        folder.names()


def test_a_file_is_removed_once_and_again(tmp_path):
    folder = Folder.at(tmp_path)
    folder.publish("x", b"1")
    folder.remove("x")
    folder.remove("x")
    assert folder.names() == []


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        Folder.at(tmp_path).read("x")


def test_what_a_killed_write_left_can_be_removed(tmp_path):
    folder = Folder.at(tmp_path)
    folder.publish("a.txt", b"whole")
    (tmp_path / ".a.txt.0123abcd.part").touch()
    folder.remove_partials()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
