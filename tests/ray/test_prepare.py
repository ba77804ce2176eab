"""The job on Ray, from archives and videos to Parquet, undisturbed and in all kinds of weather."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_zenodo import FakeZenodo, Fault
from memory import tree
from portrait_video import actor_archive, codes, portrait_video, sound_only, zipped
from rich.console import Console

from emotion_ray.cli import main
from emotion_ray.data.clips import shard_names
from emotion_ray.data.ravdess import Code, archive_name
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import PrepareSettings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

FRAMES = 8


def prepare(root: Path, start_anew: bool = False, **settings: object):
    from emotion_ray.distributed.prepare import prepare

    given = {"frames": FRAMES, "root": str(root), **settings}
    return prepare(PrepareSettings(**given), Console(quiet=True), start_anew)


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


def clips_by_id(folder: Folder) -> dict[str, dict]:
    """Every column of every clip, as plain pyarrow reads it; a clip that is there twice is a failure."""
    clips: dict[str, dict] = {}
    for name in shard_names(folder):
        table = pq.read_table(f"{folder.path}/{name}")
        for row in table.to_pylist():
            assert row["clip_id"] not in clips
            clips[row["clip_id"]] = row
    return clips


def reasons(done) -> dict[str, str]:
    """Reason by the last part of the source."""
    return {reject.source.split("/")[-1]: reject.reason for reject in done.rejects}


def settle(ray) -> None:
    """Waits until nothing runs any more on the shared Ray: a job that ended must leave nothing behind."""
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU", 0) < 2:
        assert time.monotonic() < deadline, "tasks still run after the job ended"
        time.sleep(0.1)


@contextmanager
def small_disk(folder: Path, size: str = "64k", flags: str = ""):
    """A file system of its own at a folder."""
    folder.mkdir(exist_ok=True)
    options = f"size={size}{flags}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"can't mount a small disk here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def actors() -> dict[str, bytes]:
    return {archive_name(actor): actor_archive(actor, 6) for actor in (1, 2, 3)}


def test_archives_become_clips_and_are_not_made_twice(ray_here, tmp_path, actors, monkeypatch):
    odd = actor_archive(1, 6, extra=[("Actor_01/holiday.mp4", b"who knows"), ("../../climbs.mp4", b"out")])
    with FakeZenodo(actors | {archive_name(1): odd}) as zenodo:
        at = {"base_url": zenodo.url, "out": str(tmp_path / "clips"), "cache": str(tmp_path / "cache")}
        done = prepare(tmp_path, actors="1-2", **at)
        assert done.made == 12
        assert {actor: row.total() for actor, row in done.counts.items()} == {1: 6, 2: 6}
        assert set(reasons(done).values()) == {"unknown_name", "unsafe_name"}
        clips = clips_by_id(done.folder)
        assert set(clips) == {code.clip_id for actor in (1, 2) for code in codes(actor, 6)}
        check_files(done.folder, zenodo)

        requests = len(zenodo.requests)
        with monkeypatch.context() as patch:
            patch.setattr("emotion_ray.distributed.prepare._run", None)  # not to be called
            again = prepare(tmp_path, actors="1-2", **at)
        assert (again.made, reasons(again)) == (0, reasons(done))
        assert clips_by_id(again.folder) == clips

        more = prepare(tmp_path, actors="1-3", **at)
        assert more.made == 6
        assert [request.name for request in zenodo.requests[requests:]] == [archive_name(3)]

        shutil.rmtree(tmp_path / "cache")
        requests = len(zenodo.requests)
        assert prepare(tmp_path, actors="1-3", **at).made == 0
        assert len(zenodo.requests) == requests

        with pytest.raises(EmotionRayError, match="frames 8, now 6"):
            prepare(tmp_path, actors="3", **at | {"frames": 6})
        (tmp_path / "clips" / "notes.txt").write_text("mine")
        anew = prepare(tmp_path, start_anew=True, actors="3", **at | {"frames": 6})
        assert (anew.made, list(anew.counts)) == (6, [3])
        assert (tmp_path / "clips" / "notes.txt").exists()
        assert len(shard_names(anew.folder)) == len(json.loads(anew.folder.read("prepared.json"))["files"]) - 2


def check_files(folder: Folder, zenodo: FakeZenodo) -> None:
    """What stands in a folder of clips, as the README promises it."""
    record = json.loads(folder.read("prepared.json"))
    assert record["complete"]
    assert record["clips"] == record["clips_made"] == 12
    assert record["clips_by_actor"] == {"1": 6, "2": 6}
    assert record["rejects"] == {"unknown_name": 1, "unsafe_name": 1}
    assert record["settings"]["frames"] == FRAMES
    assert sorted(record["files"]) == [name for name in folder.names() if name != "prepared.json"]
    assert "contact_sheet.png" in record["files"]
    assert {name.split("/")[1] for name in shard_names(folder)} == {"Actor_01", "Actor_02"}
    table = pq.read_table(f"{folder.path}/{shard_names(folder)[0]}")
    assert table.schema.field("frames").type == pa.fixed_shape_tensor(pa.uint8(), [FRAMES, 64, 64, 3])
    frames = table["frames"].combine_chunks().to_numpy_ndarray()
    assert frames.shape == (len(table), FRAMES, 64, 64, 3)
    assert frames.std() > 20
    assert np.all(table["found"].combine_chunks().to_numpy_ndarray() == 1)
    assert set(table["prepared_with"].to_pylist()) == {record["prepared_with"]}
    source = table["source"][0].as_py()
    assert source.startswith(zenodo.url)
    assert source.endswith(f".zip!Actor_01/{table['clip_id'][0].as_py()}.mp4")


def test_real_clips_from_the_record(ray_here, tmp_path, real_clips):
    """RAVDESS and CREMA-D takes under RAVDESS's names; the container is told by the content, not by the name."""
    members = [
        (Code(1, 1, index % 8, 1, 1, index // 8 + 1, 1).member, path.read_bytes())
        for index, path in enumerate(real_clips.values())
    ]
    with FakeZenodo({archive_name(1): zipped(members)}) as zenodo:
        done = prepare(tmp_path, actors="1", base_url=zenodo.url, frames=60)
    assert (done.made, done.rejects) == (10, [])
    for clip in clips_by_id(done.folder).values():
        assert 56 <= clip["num_frames"] <= 60  # one take is as short as that
        assert sum(clip["found"]) >= clip["num_frames"] - 2


def test_a_bad_video_is_a_reject_and_costs_no_neighbour(ray_here, tmp_path, capfd):
    whole = portrait_video()
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(whole)
    videos = {
        "good": whole,
        "cut-late": whole[: len(whole) // 2],
        "cut-early": whole[: whole.index(b"mdat")],
        "empty": b"",
        "text": b"Dear diary, this is no video.\n" * 50,
        "ffconcat": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
        f'<Representation id="1"><BaseURL>file://{secret}</BaseURL></Representation></AdaptationSet></Period>'
        f"</MPD>".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        b"a=rtpmap:96 H264/90000\n",
        "sound": sound_only(),
        "no-face": portrait_video(face=False),
        "missing": None,
        "[red]good-too": portrait_video(shift=3),
    }
    source = tmp_path / "source"
    source.mkdir()
    rows = ["path,label,actor,clip_id"]
    for index, (name, content) in enumerate(videos.items()):
        rows.append(f"{name}.mp4,happy,{index % 2 + 1},{name.removeprefix('[red]')}")
        if content is not None:
            (source / f"{name}.mp4").write_bytes(content)
    (source / "takes.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "clips"
    assert main(["prepare", "--source", f"{source}/takes.csv", "--out", f"{out}", "--frames", "8", "--json"]) == 0
    output, errors = capfd.readouterr()
    result = json.loads(output)
    assert "Traceback" not in errors
    clips = clips_by_id(Folder.at(out))
    assert {clip_id: clip["num_frames"] for clip_id, clip in clips.items()} == {
        "good": FRAMES,
        "cut-late": clips["cut-late"]["num_frames"],
        "good-too": FRAMES,
    }
    assert 1 <= clips["cut-late"]["num_frames"] < FRAMES
    assert {reject["clip_id"]: reject["reason"] for reject in result["rejects"]} == {
        "cut-early": "no_frames",
        "empty": "empty_file",
        "text": "not_a_video",
        "ffconcat": "not_a_video",
        "hls": "not_a_video",
        "dash": "not_a_video",
        "sdp": "not_a_video",
        "sound": "no_picture",
        "no-face": "no_face",
        "missing": "unreadable",
    }
    for reject in result["rejects"]:
        assert f"{reject['clip_id']}.mp4" in reject["message"]
        assert "\n" not in reject["message"]
    assert pq.read_table(out / "rejects.parquet").num_rows == 10


def test_a_server_in_trouble(ray_here, tmp_path, capfd):
    """What may pass is waited for, what may not is a reject; the other archives are there."""
    names = {actor: archive_name(actor) for actor in range(1, 9)}
    much_later = (("Retry-After", "100000"),)
    with FakeZenodo({name: actor_archive(actor, 2) for actor, name in names.items()}) as zenodo:
        zenodo.fail_always(names[2], Fault(spoil=True))
        zenodo.fail_always(names[3], Fault(status=404))
        zenodo.fail_always(names[4], Fault(status=429, headers=much_later))
        zenodo.fail_always(names[5], Fault(status=500, headers=much_later))
        zenodo.fail(names[6], Fault(cut_after=30_000))
        zenodo.fail(names[7], Fault(cut_after=30_000), Fault(no_ranges=True))
        zenodo.fail(names[8], Fault(status=429, headers=(("Retry-After", "1"),)), Fault(status=500))
        done = prepare(tmp_path, actors="1-8", base_url=zenodo.url)
        assert list(done.counts) == [1, 6, 7, 8]
        assert {actor: row.total() for actor, row in done.counts.items()} == dict.fromkeys((1, 6, 7, 8), 2)
        assert reasons(done) == {
            names[2]: "md5_mismatch",
            names[3]: "not_found",
            names[4]: "rate_limited",
            names[5]: "server_error",
        }
        for reject in done.rejects:
            assert reject.source in reject.message
            assert "\n" not in reject.message
        resumed = [request for request in zenodo.requests if request.name == names[6]]
        assert [request.status for request in resumed] == [200, 206]
        waits = [request.at for request in zenodo.requests if request.name == names[8]]
        assert waits[1] - waits[0] >= 1

        for name in names.values():
            zenodo.fail_always(name, Fault())
        healed = prepare(tmp_path, actors="1-8", base_url=zenodo.url)
    assert (healed.made, healed.rejects) == (8, [])
    assert list(healed.counts) == list(range(1, 9))
    assert "Traceback" not in capfd.readouterr().err


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(ray_here, tmp_path, actors):
    with FakeZenodo(actors) as zenodo:
        at = {"base_url": zenodo.url, "actors": "1", "out": str(tmp_path / "small"), "cache": str(tmp_path / "cache")}
        with small_disk(tmp_path / "small"):
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
    with FakeZenodo(actors) as zenodo, small_disk(tmp_path / "cache", "1m"):
        with pytest.raises(EmotionRayError, match=r"/cache: not enough space: .* are free; .* --cache"):
            prepare(tmp_path, actors="1-3", base_url=zenodo.url, cache=str(tmp_path / "cache"))
        assert not zenodo.requests


def test_an_output_that_is_read_only_is_one_line(tmp_path, actors):
    with FakeZenodo(actors) as zenodo, small_disk(tmp_path / "out", flags=",ro"):
        with pytest.raises(EmotionRayError, match=r"can't write prepared\.json in .*/out: Read-only file system"):
            prepare(tmp_path, actors="1", base_url=zenodo.url, out=str(tmp_path / "out"))
        assert not zenodo.requests


def test_a_take_that_hangs_is_given_up_and_costs_no_neighbour(ray_here, tmp_path, actors, capfd):
    """A picture of 2.8 megapixels with no face in it takes the exact detector most of a second a frame."""
    slow = Code(1, 1, 7, 2, 2, 2, 1)
    takes = [*((code.member, portrait_video(shift=index)) for index, code in enumerate(codes(1, 4)))]
    takes.insert(2, (slow.member, portrait_video(FRAMES, face=False, scale=6)))
    with FakeZenodo({archive_name(1): zipped(takes)}) as zenodo:
        at = {"actors": "1", "base_url": zenodo.url, "detector": "exact"}
        done = prepare(tmp_path, take_timeout_s=2.0, **at)
        assert done.made == 4
        assert reasons(done) == {f"{slow.clip_id}.mp4": "timeout"}
        assert f"{slow.clip_id}.mp4: not done after 2 s" in done.rejects[0].message
        patient = prepare(tmp_path, **at)
    assert (patient.made, list(reasons(patient).values())) == (0, ["no_face"])
    assert "Traceback" not in capfd.readouterr().err


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
        assert errors == "emotion-ray: stopped; the same command goes on from here\n"
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
