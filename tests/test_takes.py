import os
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_zenodo import FakeZenodo
from portrait_video import zipped

from emotion_ray.data import ravdess, takes
from emotion_ray.data.takes import (
    Choice,
    Take,
    read_take,
    record_archives,
    synthetic_sample,
    takes_in_archive,
    takes_in_folder,
    takes_in_manifest,
    without_doubles,
)
from emotion_ray.errors import EmotionRayError, Reject
from emotion_ray.sample import SampleIndex

ANY = Choice(None, (1,))
CALM = "01-01-02-01-01-01-03"


def archive(folder: Path, *names: str, name: str = "some.zip") -> Path:
    path = folder / name
    path.write_bytes(zipped((member, member.encode()) for member in names))
    return path


def manifest(folder: Path, text: str) -> Path:
    path = folder / "takes.csv"
    path.write_text(text)
    return path


def test_an_archives_takes_are_read_from_their_names(tmp_path):
    path = archive(tmp_path, f"Actor_03/{CALM}.mp4")
    [take], rejects = takes_in_archive(path, ANY, "https://there/some.zip")
    assert not rejects
    assert (take.clip_id, take.actor, take.emotion, take.intensity, take.modality) == (CALM, 3, 1, 1, 1)
    assert take.source == f"https://there/some.zip!Actor_03/{CALM}.mp4"
    assert take.name == f"some.zip: Actor_03/{CALM}.mp4"
    content, crc32 = read_take(take, path)
    assert content == f"Actor_03/{CALM}.mp4".encode()
    assert crc32 == zlib.crc32(content)


def test_modality_and_actor_choose(tmp_path):
    path = archive(tmp_path, f"{CALM}.mp4", "02-01-02-01-01-01-03.mp4", "01-01-02-01-01-01-04.mp4")
    for choice, expected in (
        (ANY, {CALM, "01-01-02-01-01-01-04"}),
        (Choice(None, (2,)), {"02-01-02-01-01-01-03"}),
        (Choice(frozenset({3}), (1, 2)), {CALM, "02-01-02-01-01-01-03"}),
        (Choice(frozenset({9}), (1, 2)), set()),
    ):
        takes, rejects = takes_in_archive(path, choice)
        assert {take.clip_id for take in takes} == expected
        assert not rejects


def test_an_unknown_name_in_an_archive_costs_no_neighbour(tmp_path):
    path = archive(tmp_path, f"{CALM}.mp4", "holiday.mp4", "01-01-02-01-01-01-25.mp4")
    takes, rejects = takes_in_archive(path, ANY)
    assert [take.clip_id for take in takes] == [CALM]
    assert {(reject.reason, reject.source) for reject in rejects} == {
        ("unknown_name", f"{path}!holiday.mp4"),
        ("unknown_name", f"{path}!01-01-02-01-01-01-25.mp4"),
    }
    assert any("actor is 25, expected 1 to 24" in reject.message for reject in rejects)
    assert all("manifest" in reject.message for reject in rejects)


def test_the_same_take_twice_in_an_archive_is_taken_once(tmp_path):
    path = archive(tmp_path, f"Actor_03/{CALM}.mp4", f"again/{CALM}.mp4")
    takes, [reject] = takes_in_archive(path, ANY)
    assert [take.member for take in takes] == [f"Actor_03/{CALM}.mp4"]
    assert reject.reason == "duplicate_clip"
    assert CALM in reject.message


def test_a_folder_of_archives_and_videos_at_any_depth(tmp_path):
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    archive(tmp_path / "deep", f"{CALM}.mp4")
    (tmp_path / "deep" / "deeper" / "01-01-05-02-01-01-04.mp4").write_bytes(b"video")
    (tmp_path / "broken.zip").write_bytes(b"no zip at all")
    takes, [reject] = takes_in_folder(tmp_path, ANY)
    assert {take.clip_id for take in takes} == {CALM, "01-01-05-02-01-01-04"}
    assert reject.stage == "archive"
    assert "broken.zip" in reject.source


def test_a_loose_video_is_read_with_its_checksum(tmp_path):
    path = tmp_path / f"{CALM}.mp4"
    path.write_bytes(b"video")
    [take], _ = takes_in_folder(tmp_path, ANY)
    assert take.member is None
    assert read_take(take) == (b"video", zlib.crc32(b"video"))


def test_a_video_that_went_away_is_a_reject_that_names_it(tmp_path):
    take = Take("gone", 1, 0, None, None, None, None, str(tmp_path / "gone.mp4"))
    with pytest.raises(Reject, match=r"gone\.mp4") as caught:
        read_take(take)
    assert (caught.value.stage, caught.value.reason) == ("fetch", "unreadable")


def test_a_pipe_named_like_a_video_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    path = manifest(tmp_path, "path,label,actor\npipe.mp4,happy,1\n")
    [take] = takes_in_manifest(path, ANY)
    with pytest.raises(Reject, match=r"pipe\.mp4 is not a file"):
        read_take(take)


def test_a_video_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / f"{CALM}.mp4"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # a hole: it takes no space
    [take], _ = takes_in_folder(tmp_path, ANY)
    with pytest.raises(Reject) as caught:
        read_take(take)
    assert caught.value.reason == "too_large"


def test_a_manifest_labels_any_data(tmp_path):
    path = manifest(
        tmp_path,
        "\ufeffpath,label,actor,clip_id\nclips/a.mp4,Happy,1076,\n/data/b.webm, sad ,7,b-7\nclips/c.flv,angry,7\n",
    )
    first, second, third = takes_in_manifest(path, ANY)
    assert (first.clip_id, first.emotion, first.actor) == ("a", 2, 1076)
    assert first.path == str(tmp_path / "clips/a.mp4")
    assert (second.clip_id, second.emotion, second.path) == ("b-7", 3, "/data/b.webm")
    assert third.clip_id == "c"
    assert first.modality is first.intensity is first.statement is first.repetition is None
    assert [take.clip_id for take in takes_in_manifest(path, Choice(frozenset({7}), (2,)))] == ["b-7", "c"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\na.mp4,happy\n", "lacks the column 'actor'"),
        ("path,label,actor\na.mp4,joyful,1\n", "line 2: the emotion 'joyful' is none of neutral, calm"),
        ("path,label,actor\na.mp4,happy,1\nb.mp4,sad,one\n", "line 3: the actor 'one' is not a whole number"),
        ("path,label,actor\na.mp4,happy,-1\n", "line 2: the actor '-1'"),
        ("path,label,actor\na.txt,happy,1\n", r"line 2: 'a\.txt' is none of"),
        ("path,label,actor\n,happy,1\n", "line 2: ''"),
        ("path,label,actor,clip_id\na.mp4,happy,1,../b\n", r"line 2: the clip_id '\.\./b'"),
        ("path,label,actor\na.mp4\n", "line 2: the emotion ''"),
        ("path,label,actor\n", "lists no video"),
        ("", "lacks the column"),
    ],
)
def test_a_wrong_manifest_names_its_file_and_line(tmp_path, text, says):
    path = manifest(tmp_path, text)
    with pytest.raises(EmotionRayError, match=says) as caught:
        takes_in_manifest(path, ANY)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00path"])
def test_a_manifest_that_cant_be_read_names_its_file(tmp_path, content):
    path = tmp_path / "takes.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EmotionRayError, match=r"takes\.csv"):
        takes_in_manifest(path, ANY)


def test_of_two_takes_of_one_clip_id_the_first_is_taken():
    takes = [Take("same", 1, 0, None, None, None, None, f"{folder}/same.mp4") for folder in "ab"]
    kept, [reject] = without_doubles(takes)
    assert kept == takes[:1]
    assert (reject.source, reject.clip_id, reject.reason) == ("b/same.mp4", None, "duplicate_clip")
    assert "a/same.mp4" in reject.message


def test_zenodos_own_archives_need_no_question():
    first, last = record_archives([1, 24], "https://zenodo.org/")
    assert (first.name, first.bytes, first.md5) == ("Video_Speech_Actor_01.zip", *ravdess.SPEECH_ARCHIVES[1])
    assert last.url == "https://zenodo.org/records/1188976/files/Video_Speech_Actor_24.zip?download=1"


def test_a_mirrors_record_gives_sizes_and_checksums():
    with FakeZenodo({"Video_Speech_Actor_03.zip": b"content"}) as zenodo:
        [archive] = record_archives([3], zenodo.url)
        assert (archive.bytes, archive.md5) == (7, zenodo.md5("Video_Speech_Actor_03.zip"))
        assert archive.url == zenodo.file_url("Video_Speech_Actor_03.zip")
        with pytest.raises(EmotionRayError, match=r"has no Video_Speech_Actor_04\.zip"):
            record_archives([3, 4], zenodo.url)


def test_the_synthetic_sample_is_known_at_a_mirror_and_in_a_folder(tmp_path):
    index = SampleIndex(tmp_path, "demo", 0, {})
    index.write()
    with FakeZenodo({}) as zenodo:
        assert synthetic_sample("zenodo", zenodo.url) is None
        zenodo.record = index.as_record
        assert synthetic_sample("zenodo", zenodo.url) == "demo"
    assert synthetic_sample("zenodo", "https://zenodo.org") is None
    assert synthetic_sample(str(tmp_path), "https://zenodo.org") == "demo"
    assert synthetic_sample(str(manifest(tmp_path, "")), "https://zenodo.org") is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "[" * 100_000, '{"synthetic_sample": 3}', '{"synthetic_sample": {}}']
)
def test_another_index_in_a_folder_says_nothing_of_the_sample(tmp_path, content):
    (tmp_path / "index.json").write_text(content)
    assert synthetic_sample(str(tmp_path), "https://zenodo.org") is None


ENDLESS = {"files": [{"key": "a", "size": float("inf"), "checksum": "md5:0"}]}


@pytest.mark.parametrize("record", [[], {}, {"files": 3}, {"files": [{"key": "a"}]}, {"files": [None]}, ENDLESS])
def test_a_mirror_with_another_record_is_one_line(record, monkeypatch):
    with FakeZenodo({}) as zenodo:
        monkeypatch.setattr(zenodo, "record", lambda: record)
        with pytest.raises(EmotionRayError, match=r"not a record of files.*check --base-url"):
            record_archives([3], zenodo.url)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"[" * 200_000, b" " * 5_000_000])
def test_a_record_that_is_nested_or_long_beyond_measure_is_one_line(content, monkeypatch):
    with serving(content) as url, pytest.raises(EmotionRayError, match=r"not a record of files.*check --base-url"):
        record_archives([3], url)


@pytest.mark.slow
def test_a_record_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(takes, "RECORD_TIMEOUT_S", 0.3)
    began = time.monotonic()
    with serving(b" " * 600, pause_s=0.05) as url, pytest.raises(EmotionRayError, match="bytes a second are coming"):
        record_archives([3], url)
    assert time.monotonic() - began < 10


@contextmanager
def serving(content, pause_s=0.0):
    """Answers every request with the content, byte by byte where there is a pause between them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):  # the client has heard enough
                for piece in range(len(content)) if pause_s else [slice(None)]:
                    self.wfile.write(bytes([content[piece]]) if pause_s else content[piece])
                    time.sleep(pause_s)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_mirror_without_a_record_is_one_line_and_shows_no_password():
    with FakeZenodo({}) as zenodo:
        elsewhere = zenodo.url.replace("http://", "http://me:secret@") + "/elsewhere"
        with pytest.raises(EmotionRayError, match=r"no record.*HTTP 404.*check --base-url") as caught:
            record_archives([3], elsewhere)
    assert "secret" not in str(caught.value)
    with pytest.raises(EmotionRayError, match=r"no record.*check --base-url"):
        record_archives([3], zenodo.url)  # closed
    with pytest.raises(EmotionRayError, match="only http, https and file"):
        record_archives([3], "ftp://there")
    with pytest.raises(EmotionRayError, match=r"file:///tmp is no http or https address: .* by --source"):
        record_archives([3], "file:///tmp")
