"""Folders of videos and archives: what is taken from them, and links that leave them."""

import os
from pathlib import Path

import pytest

from emotion_ray.data.archives import list_folder
from emotion_ray.errors import EmotionRayError


def test_a_folder_of_videos_and_archives(tmp_path):
    folder = tmp_path / "given"
    wanted = ["Actor_01/a.mp4", "Actor_01/b.FLV", "a.zip", "z.webm"]
    for name in [*wanted, "notes.txt", ".hidden.mp4", ".cache/x.mp4"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    paths, rejects = list_folder(folder)
    assert (paths, rejects) == ([folder / name for name in wanted], [])


def test_links_that_leave_a_folder(tmp_path):
    folder, outside = tmp_path / "given", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret.mp4").write_bytes(b"x")
    (folder / "a.mp4").write_bytes(b"x")
    (folder / "file.mp4").symlink_to(outside / "secret.mp4")
    (folder / "folder").symlink_to(outside)
    (folder / "nowhere.mp4").symlink_to("nothing")
    (folder / "Again.mp4").symlink_to("a.mp4")  # sorted before and after what they lead to
    (folder / "again.mp4").symlink_to("a.mp4")
    (folder / "circle").symlink_to(folder)
    paths, rejects = list_folder(folder)
    assert paths == [folder / "a.mp4"], "a link within the folder is the same take, not another"
    assert [(name, reject.reason) for name, reject in rejects] == [
        (name, "link") for name in ("file.mp4", "folder", "nowhere.mp4")
    ]


def test_a_name_that_is_no_utf_8_is_a_reject_that_can_be_stored(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcnchen.mp4")).write_bytes(b"x")
    paths, ((name, reject),) = list_folder(tmp_path)
    assert (paths, name, reject.reason) == ([tmp_path / "a.mp4"], "M\\xfcnchen.mp4", "unsafe_name")
    assert reject.message.encode() == f"{tmp_path}/M\\xfcnchen.mp4: its name is not in UTF-8; rename it".encode()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "take.mp4").write_bytes(b"x")
    with pytest.raises(EmotionRayError, match=r"take\.mp4 is a file; give the folder that it lies in"):
        list_folder(tmp_path / "take.mp4")


def test_folders_that_cannot_be_used(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(EmotionRayError, match=str(folder)):
            list_folder(folder)
