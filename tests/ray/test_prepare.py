"""The job on Ray, from archives and videos to Parquet."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_zenodo import FakeZenodo, Fault
from portrait_video import actor_archive, codes, portrait_video, sound_only, zipped
from preparing import FRAMES, clips_by_id, prepare, reasons

from emotion_ray.cli import main
from emotion_ray.data.clips import shard_names
from emotion_ray.data.ravdess import Code, archive_name
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


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
