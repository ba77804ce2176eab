"""Downloads into the cache: what is resumed, what is verified, full disks, many at once."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_zenodo import Fault
from one_archive import CONTENT, MD5, NAME, QUICK

from emotion_ray.data.archive_cache import CacheEntry
from emotion_ray.data.archives import Archive
from emotion_ray.data.download import DownloadSettings, download
from emotion_ray.errors import EmotionRayError, Reject


@pytest.fixture
def disk(tmpfs) -> Path:
    """A file system of 1 MiB."""
    return tmpfs("size=1m")


def reject_of(archive: Archive, cache: Path, settings: DownloadSettings = QUICK) -> Reject:
    with pytest.raises(Reject) as caught:
        download(archive, cache, settings=settings)
    assert caught.value.stage == "fetch"
    assert len(caught.value.message.splitlines()) == 1
    assert not (cache / archive.name).exists(), "a half-file is never taken for a whole one"
    return caught.value


def child(archive: Archive, cache: Path, before: str = "") -> subprocess.Popen:
    """Another process that downloads the archive."""
    program = (
        "from pathlib import Path\n"
        "from emotion_ray.data.archives import Archive\n"
        "from emotion_ray.data.download import DownloadSettings, download\n"
        f"{before}\n"
        f"print(download({archive!r}, Path({str(cache)!r}), settings={QUICK!r}), flush=True)\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_whole_at_once(zenodo, archive, tmp_path):
    progress: list[int] = []
    path = download(archive, tmp_path / "new" / "cache", settings=QUICK, on_progress=progress.append)
    assert path == tmp_path / "new" / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert sum(progress) == len(CONTENT)
    assert "Range" not in zenodo.requests[0].headers
    assert sorted(entry.name for entry in path.parent.iterdir()) == [NAME, f"{NAME}.lock", f"{NAME}.ok"]


def test_a_whole_file_is_neither_fetched_nor_read_again(zenodo, archive, tmp_path, monkeypatch):
    download(archive, tmp_path, settings=QUICK)
    progress: list[int] = []
    monkeypatch.setattr(hashlib, "file_digest", None)  # reading it again would fail
    assert download(archive, tmp_path, settings=QUICK, on_progress=progress.append).read_bytes() == CONTENT
    assert progress == [len(CONTENT)]
    assert len(zenodo.requests) == 1


def test_a_file_that_changed_is_fetched_again(zenodo, archive, tmp_path):
    path = download(archive, tmp_path, settings=QUICK)
    path.write_bytes(CONTENT[:-1] + b"\0")
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert len(zenodo.requests) == 2


@pytest.mark.parametrize("known", [{}, {"bytes": None}, {"md5": None}, {"bytes": None, "md5": None}])
def test_a_file_put_there_by_hand(zenodo, archive, tmp_path, known):
    (tmp_path / NAME).write_bytes(CONTENT)
    archive = replace(archive, **known)
    for _ in range(2):
        assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert len(zenodo.requests) == (1 if archive.md5 is None else 0), "without an md5 it is not taken on trust"


def test_room_is_asked_for_what_is_not_there_yet(archive, tmp_path):
    assert CacheEntry(tmp_path, archive).bytes_missing() == len(CONTENT)
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    assert CacheEntry(tmp_path, archive).bytes_missing() == len(CONTENT)
    (tmp_path / NAME).write_bytes(CONTENT)
    assert CacheEntry(tmp_path, archive).bytes_missing() == 0
    assert CacheEntry(tmp_path, replace(archive, md5=None)).bytes_missing() == len(CONTENT)


@pytest.mark.parametrize("known", [{}, {"bytes": None}, {"bytes": None, "md5": None}])
def test_a_cut_connection_is_resumed(zenodo, archive, tmp_path, known):
    zenodo.fail(NAME, Fault(cut_after=100_000), Fault(cut_after=50_000))
    progress: list[int] = []
    path = download(replace(archive, **known), tmp_path, settings=QUICK, on_progress=progress.append)
    assert path.read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in zenodo.requests] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
    ]
    assert zenodo.requests[1].headers["If-Range"] == f'"{MD5}"'
    assert zenodo.sent(NAME) == len(CONTENT), "only the rest was sent"
    assert min(progress) >= 0
    assert sum(progress) == len(CONTENT)


def test_resumes_what_a_killed_process_left(zenodo, archive, tmp_path):
    zenodo.fail(NAME, Fault(bytes_per_s=500_000))
    process = child(archive, tmp_path)
    wait_until(lambda: zenodo.sent(NAME) > 100_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / NAME).exists()
    here = (tmp_path / f"{NAME}.part").stat().st_size
    assert here > 50_000
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert zenodo.requests[1].headers["Range"] == f"bytes={here}-"
    assert zenodo.requests[1].sent == len(CONTENT) - here


def test_a_part_that_is_whole_needs_no_request(zenodo, archive, tmp_path):
    zenodo.fail(NAME, Fault(cut_after=299_999))
    reject_of(archive, tmp_path, replace(QUICK, tries=1))
    with (tmp_path / f"{NAME}.part").open("ab") as part:
        part.write(CONTENT[299_999:])
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert len(zenodo.requests) == 1


@pytest.mark.parametrize("fault", [Fault(), Fault(no_etag=True)])
def test_a_file_that_changed_between_two_transfers(zenodo, archive, tmp_path, fault):
    zenodo.files[NAME] = bytes(350_000)
    archive = replace(archive, bytes=None, md5=None)
    zenodo.fail(NAME, replace(fault, cut_after=100_000))
    reject_of(archive, tmp_path, replace(QUICK, tries=1))
    zenodo.files[NAME] = CONTENT
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT


def test_a_part_from_another_place_is_dropped(zenodo, archive, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(b"something else")
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert "Range" not in zenodo.requests[0].headers


@pytest.mark.parametrize("name", ["../a.zip", "/a.zip", "", ".hidden", "a/b.zip", "a\n.zip", "a" * 300])
def test_names_that_leave_the_cache(archive, tmp_path, name):
    with pytest.raises(EmotionRayError, match="names no archive"):
        download(replace(archive, name=name), tmp_path, settings=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_file_urls_are_verified_in_place(tmp_path, monkeypatch):
    origin, cache = tmp_path / "origin dir" / "a.zip", tmp_path / "cache"
    origin.parent.mkdir()
    archive = Archive("a.zip", origin.as_uri(), len(CONTENT), MD5)
    assert reject_of(archive, cache).reason == "not_found"
    origin.write_bytes(CONTENT[::-1])
    assert reject_of(archive, cache).reason == "md5_mismatch"
    origin.write_bytes(CONTENT[:-1])
    assert reject_of(archive, cache).reason == "wrong_length"
    origin.write_bytes(CONTENT)
    assert download(archive, cache) == origin
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert download(archive, cache) == origin
    assert not (cache / "a.zip").exists()


def test_a_proxy_is_not_asked_for_this_machine(zenodo, archive, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.delenv("no_proxy")
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT


def test_free_space_is_looked_at_first(zenodo, archive, tmp_path):
    settings = replace(QUICK, spare_bytes=1 << 60)
    for attempt in (
        lambda: download(archive, tmp_path, settings=settings),
        lambda: download(replace(archive, bytes=None), tmp_path, settings=settings),
    ):
        with pytest.raises(EmotionRayError, match=f"{tmp_path}: not enough space: 0.00 GB are to come, .* free"):
            attempt()
    assert len(zenodo.requests) == 1, "only where the size was not known was the server asked for it"
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{NAME}.lock"]


def test_a_disk_that_fills_up_meanwhile(zenodo, archive, disk):
    filler = disk / "filler"

    def fill(count: int) -> None:
        if count and not filler.exists():
            with filler.open("wb", buffering=0) as file:
                left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
                file.write(bytes(left - 8192))

    zenodo.fail(NAME, Fault(bytes_per_s=3_000_000))
    with pytest.raises(EmotionRayError, match=f"{disk}: the disk is full") as caught:
        download(archive, disk, settings=QUICK, on_progress=fill)
    assert caught.value.__cause__.errno == errno.ENOSPC
    here = (disk / f"{NAME}.part").stat().st_size
    assert 0 < here < len(CONTENT)
    filler.unlink()
    assert download(archive, disk, settings=QUICK).read_bytes() == CONTENT
    assert zenodo.requests[1].headers["Range"] == f"bytes={here}-"


def test_a_quota_on_file_sizes(zenodo, archive, tmp_path):
    process = child(archive, tmp_path, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))")
    _, stderr = process.communicate(timeout=10)
    assert f"EmotionRayError: {tmp_path}: the disk is full; what has come is kept" in stderr
    assert (tmp_path / f"{NAME}.part").stat().st_size == 100_000


def test_caches_that_cannot_be_written_in(archive, disk):
    (disk / "file").touch()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for cache in (disk, disk / "new", disk / "file"):
        with pytest.raises(EmotionRayError, match=f"{cache}: cannot be written in .* --cache"):
            download(archive, cache, settings=QUICK)


@pytest.mark.slow
def test_processes_fetch_one_archive_once(zenodo, archive, tmp_path):
    zenodo.fail_always(NAME, Fault(bytes_per_s=400_000))
    processes = [child(archive, tmp_path) for _ in range(3)]
    results = [process.communicate(timeout=20) for process in processes]
    assert results == [(f"{tmp_path / NAME}\n", "")] * 3
    assert zenodo.sent(NAME) == len(CONTENT)
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [Fault(bytes_per_s=50_000), Fault(status=429, headers=(("Retry-After", "10"),))])
def test_stop(zenodo, archive, tmp_path, fault):
    zenodo.fail(NAME, fault)
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Reject) as caught:
        download(archive, tmp_path, settings=QUICK, stop=stop)
    assert caught.value.reason == "stopped"
    assert time.monotonic() - started < 2
    timer.join()
