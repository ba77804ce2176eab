"""The job on Ray with full disks, takes that hang, workers that die, and a driver that is stopped or killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_zenodo import FakeZenodo
from memory import tree
from portrait_video import actor_archive, codes, portrait_video, zipped
from preparing import FRAMES, clips_by_id, prepare, reasons
from small_disk import small_disk

from emotion_ray.data.clips import shard_names
from emotion_ray.data.ravdess import Code, archive_name
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


@contextmanager
def command(*arguments: object):
    """`emotion-ray prepare` in a process, with a Ray, of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "emotion_ray.cli", "prepare", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def settle(ray) -> None:
    """Waits until nothing runs any more on the shared Ray: a job that ended must leave nothing behind."""
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU", 0) < 2:
        assert time.monotonic() < deadline, "tasks still run after the job ended"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def actors() -> dict[str, bytes]:
    return {archive_name(actor): actor_archive(actor, 6) for actor in (1, 2, 3)}


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(ray_here, tmp_path, actors):
    with FakeZenodo(actors) as zenodo:
        at = {"base_url": zenodo.url, "actors": "1", "out": str(tmp_path / "small"), "cache": str(tmp_path / "cache")}
        with small_disk(tmp_path / "small", "size=64k"):
            with pytest.raises(
                EmotionRayError, match=r"can't write shards/Actor_01.* in .*/small: .*free space"
            ) as full:
                prepare(tmp_path, **at)
            assert "\n" not in str(full.value)
            settle(ray_here)
            subprocess.run(["mount", "-o", "remount,size=64m", tmp_path / "small"], check=True)
            assert prepare(tmp_path, **at).made == 6
        assert len(zenodo.requests) == 1


def test_a_small_disk_for_the_cache_is_one_line(ray_here, tmp_path, actors):
    with FakeZenodo(actors) as zenodo, small_disk(tmp_path / "cache", "size=1m"):
        with pytest.raises(EmotionRayError, match=r"/cache: not enough space: .* are free; .* --cache"):
            prepare(tmp_path, actors="1-3", base_url=zenodo.url, cache=str(tmp_path / "cache"))
        assert not zenodo.requests


def test_an_output_that_is_read_only_is_one_line(tmp_path, actors):
    with FakeZenodo(actors) as zenodo, small_disk(tmp_path / "out", "size=64k,ro"):
        with pytest.raises(EmotionRayError, match=r"can't write prepared\.json in .*/out: Read-only file system"):
            prepare(tmp_path, actors="1", base_url=zenodo.url, out=str(tmp_path / "out"))
        assert not zenodo.requests


@pytest.mark.timeout(180)
def test_a_take_that_hangs_is_given_up_and_costs_no_neighbour(ray_here, tmp_path, actors, capfd):
    """Pictures of 7.8 megapixels with no face in them take the exact detector half a second each and more."""
    slow = Code(1, 1, 7, 2, 2, 2, 1)
    takes = [*((code.member, portrait_video(shift=index)) for index, code in enumerate(codes(1, 4)))]
    takes.insert(2, (slow.member, portrait_video(12, face=False, scale=10)))
    with FakeZenodo({archive_name(1): zipped(takes)}) as zenodo:
        at = {"actors": "1", "base_url": zenodo.url, "detector": "exact", "frames": 12}
        done = prepare(tmp_path, take_timeout_s=4.0, **at)
        assert done.made == 4
        assert reasons(done) == {f"{slow.clip_id}.mp4": "timeout"}
        assert f"{slow.clip_id}.mp4: not done after 4 s" in done.rejects[0].message
        patient = prepare(tmp_path, **at)
    assert (patient.made, list(reasons(patient).values())) == (0, ["no_face"])
    assert "Traceback" not in capfd.readouterr().err


def test_a_hang_that_holds_the_interpreters_lock_ends_its_process():
    """As a decoder that never returns: no thread of Python's runs any more."""
    code = """
import ctypes
from types import SimpleNamespace
from emotion_ray.distributed import crop_stage
crop_stage.LAST_WORD_S = 0.1
stage = crop_stage.CropStage(None, 0.3, SimpleNamespace(give_up=None))
with stage._watched(SimpleNamespace(name="take")):
    ctypes.PyDLL(None).sleep(100)
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"")
    assert time.monotonic() - began < 30


def test_all_takes_too_slow_is_the_end_of_them_and_not_of_the_job(ray_here, tmp_path, capfd):
    for code in codes(1, 3):
        (tmp_path / f"{code.clip_id}.mp4").write_bytes(portrait_video(30, scale=3))
    at = {"source": str(tmp_path), "out": str(tmp_path / "clips"), "detector": "exact", "frames": 30}
    done = prepare(tmp_path, take_timeout_s=0.01, **at)
    # one may be done while its watchdog still says so on a busy machine
    assert done.made < 3 and done.made + len(done.rejects) == 3 and set(reasons(done).values()) == {"timeout"}
    again = prepare(tmp_path, **at)
    assert (done.made + again.made, again.rejects) == (3, [])
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_worker_that_dies_costs_no_clip(ray_here, tmp_path):
    """As one that ran out of memory does: its take is missing, found to be missing, and made after all."""
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not over.wait(0.01) and not killed:
            for pid in tree(os.getpid()):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::MapBatches(CropStage"):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    break

    with FakeZenodo({archive_name(1): actor_archive(1, 8)}) as zenodo:
        killer = threading.Thread(target=kill_one)
        killer.start()
        try:
            done = prepare(tmp_path, actors="1", base_url=zenodo.url)
        finally:
            over.set()
            killer.join()
    assert killed
    assert (done.made, done.rejects) == (8, [])
    assert len(clips_by_id(done.folder)) == 8


def test_stopped_and_killed_it_goes_on_to_the_very_same_clips(ray_here, tmp_path):
    """Ctrl-C, then SIGKILL after the first shard, each to a process with a Ray of its own; then undisturbed."""
    count = 20
    with FakeZenodo({archive_name(actor): actor_archive(actor, count) for actor in (1, 2)}) as zenodo:
        at = {"actors": "1-2", "base_url": zenodo.url, "cache": str(tmp_path / "cache")}
        flags = [part for name, value in at.items() for part in (f"--{name.replace('_', '-')}", value)]
        flags += ["--frames", FRAMES, "--out", tmp_path / "disturbed", "--workers", 2]

        with command(*flags) as stopped:
            assert "preparing on this machine" in stopped.stdout.readline()
            processes = tree(stopped.pid)
            stopped.send_signal(signal.SIGINT)
            _, errors = stopped.communicate(timeout=60)
        assert stopped.returncode == 130
        assert errors == "emotion-ray: stopped; run the same command again\n"
        assert not running(processes)

        with command(*flags) as killed:
            deadline = time.monotonic() + 90
            while not shard_names(Folder.at(tmp_path / "disturbed")):
                assert killed.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            processes = tree(killed.pid)
            killed.kill()
        held = set(clips_by_id(Folder.at(tmp_path / "disturbed")))
        assert 0 < len(held) < 2 * count

        done = prepare(tmp_path, out=str(tmp_path / "disturbed"), **at)
        assert done.made >= 2 * count - len(held) - 32  # the dead run's last writers may have gone on for a moment
        undisturbed = prepare(tmp_path, out=str(tmp_path / "undisturbed"), **at)
    assert undisturbed.made == 2 * count
    assert clips_by_id(done.folder) == clips_by_id(undisturbed.folder)
    deadline = time.monotonic() + 20
    while found := {running(processes)[pid] for pid in running(processes)} & {"raylet", "gcs_server"}:
        assert time.monotonic() < deadline, f"{found} outlived a killed driver"
        time.sleep(0.2)


def running(pids: list[int]) -> dict[int, str]:
    """Names of those processes that still are, without zombies."""
    names = {}
    for pid in pids:
        try:
            name, state = Path(f"/proc/{pid}/stat").read_text().split("(")[1].rsplit(") ", 1)
        except (OSError, IndexError):
            continue
        if state[0] != "Z":
            names[pid] = name
    return names
