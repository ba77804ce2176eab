import hashlib
import io
import json
import threading
import time

import av
import cv2
import numpy as np
import pytest
from portrait_video import portrait_video
from served import FRAMES, client, live, store_model
from starlette.websockets import WebSocketDisconnect, WebSocketState

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.inference.analysis import analyse
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.models.store import load_stored
from emotion_ray.service import live as module
from emotion_ray.service.access import Access
from emotion_ray.service.images import picture_size
from emotion_ray.service.live import HEADER, MOST_UNREAD, NEWEST_KEPT
from emotion_ray.service.problems import Problem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    store_model(folder, "tiny", "lstm", uar=0.5)
    store_model(folder, "looking", "attention")
    return folder


@pytest.fixture
def service(root):
    with client(root, live_idle_s=1.0, live_at_once=2) as connected:
        yield connected


def frames_of(content: bytes) -> list[tuple[float, np.ndarray]]:
    with av.open(io.BytesIO(content)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def encoded(rgb: np.ndarray, kind: str = ".webp", quality: int = 101) -> bytes:
    """A picture; WebP is lossless at this quality."""
    flag = {".webp": cv2.IMWRITE_WEBP_QUALITY, ".jpg": cv2.IMWRITE_JPEG_QUALITY}[kind]
    return cv2.imencode(kind, rgb[..., ::-1], [flag, quality])[1].tobytes()


def message(time_s: float, picture: bytes, read: int = 0) -> bytes:
    return HEADER.pack(time_s, read) + picture


KEY = b"a key for tests, long enough"
PICTURE = encoded(np.full((48, 64, 3), 90, np.uint8), ".jpg", 80)


@pytest.mark.parametrize("name", ["tiny", "looking"])
def test_pictures_get_what_the_engine_says_of_the_video(service, root, mtcnn, name):
    content = portrait_video(frames=25)
    stream = EmotionStream(mtcnn, load_stored(root / "models", name), 5)
    expected = [observation for _, observation in analyse(content, "x", stream)]
    answers = []
    with live(service) as session:
        session.send_json({"model": name, "stride": 5})
        ready = session.receive_json()
        assert (ready["model"], ready["frames"], ready["labels"]) == (name, FRAMES, list(EMOTIONS))
        for at, rgb in frames_of(content):
            session.send_bytes(message(at, encoded(rgb), len(answers)))
            answers.append(session.receive_json())
        session.send_json({"end": True})
        last = session.receive_json()
    assert last["type"] == "end" and all(one["type"] == "frame" and one["dropped"] == 0 for one in answers)
    for ours, theirs in zip(answers, expected[:-1], strict=False):
        assert [face["track"] for face in ours["faces"]] == [face.track for face in theirs.faces]
        for face, seen in zip(ours["faces"], theirs.faces, strict=True):
            assert face["box"] == pytest.approx(seen.box.tolist(), abs=0.06)
            assert (face["prediction"] is None) == (seen.prediction is None)
            if seen.prediction is not None:
                told = list(face["prediction"]["probabilities"].values())
                np.testing.assert_allclose(told, seen.prediction.probabilities, atol=1e-4)
                assert len(face["prediction"].get("attention", [])) == (FRAMES if name == "looking" else 0)
    assert answers[-1]["size"] == [320, 240]
    assert last["faces"][0]["prediction"]["label"] == expected[-1].faces[0].prediction.label


def problem_and_code(session) -> tuple[dict, int]:
    """The problem that ends a session, and the close code."""
    while (told := session.receive_json())["type"] != "problem":
        pass
    with pytest.raises(WebSocketDisconnect) as closed:
        session.receive_json()
    return told, closed.value.code


def large() -> bytes:
    """A JPEG whose header says 20000x20000 and that holds next to nothing."""
    content = bytearray(PICTURE)
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = (20000).to_bytes(2, "big") * 2
    return bytes(content)


@pytest.mark.parametrize(
    ("sent", "reason", "code"),
    [
        (message(0.0, b"garbage" * 100), "bad_picture", 1007),
        (message(0.0, PICTURE[: len(PICTURE) // 8]), "bad_picture", 1007),
        (message(0.0, large()), "too_many_pixels", 1009),
        (message(0.0, bytes(2_100_000)), "too_large", 1009),
        (message(0.0, encoded(np.zeros((8, 64, 3), np.uint8), ".jpg", 80)), "too_small", 1007),
        (b"1234567", "bad_picture", 1007),
        (b"", "bad_picture", 1007),
        (message(float("nan"), PICTURE), "bad_time", 1007),
        (message(float("inf"), PICTURE), "bad_time", 1007),
        (message(-1.0, PICTURE), "bad_time", 1007),
    ],
    ids=["garbage", "half", "large", "heavy", "small", "short", "empty", "nan", "inf", "negative"],
)
def test_pictures_that_are_none_end_the_session(service, sent, reason, code):
    with live(service) as session:
        session.send_json({})
        assert session.receive_json()["type"] == "ready"
        session.send_bytes(sent)
        told, closed = problem_and_code(session)
    assert (told["reason"], closed) == (reason, code)
    assert service.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("hello", "reason", "code"),
    [
        ("garbage", "bad_hello", 1007),
        ("[]", "bad_hello", 1007),
        ("[" * 4000, "bad_hello", 1007),
        ('{"model": 7}', "bad_hello", 1007),
        ('{"model": "../tiny"}', "unknown_model", 1008),
        ('{"model": "nobody"}', "unknown_model", 1008),
        ('{"stride": 0}', "bad_stride", 1007),
        ('{"stride": [1]}', "bad_stride", 1007),
    ],
)
def test_a_first_message_that_makes_no_sense_ends_the_session(service, hello, reason, code):
    with live(service) as session:
        session.send_text(hello)
        told, closed = problem_and_code(session)
    assert (told["reason"], closed) == (reason, code)


def test_binary_in_place_of_the_first_message(service):
    with live(service) as session:
        session.send_bytes(message(0.0, PICTURE))
        assert problem_and_code(session)[0]["reason"] == "bad_hello"


def test_times_that_run_back_and_other_texts_end_the_session(service):
    with live(service) as session:
        session.send_json({})
        session.receive_json()
        session.send_bytes(message(1.0, PICTURE))
        assert session.receive_json()["faces"] == []
        session.send_bytes(message(1.0, PICTURE))
        assert problem_and_code(session)[0]["reason"] == "bad_time"
    with live(service) as session:
        session.send_json({})
        session.receive_json()
        session.send_text("go on")
        assert problem_and_code(session)[0]["reason"] == "bad_message"


def test_nothing_at_all_ends_the_session_after_a_while(service):
    for hello in (False, True):
        with live(service) as session:
            if hello:
                session.send_json({})
                session.receive_json()
            began = time.monotonic()
            told, code = problem_and_code(session)
        assert (told["reason"], code) == ("idle", 1008)
        assert 0.5 < time.monotonic() - began < 5


def test_a_session_has_an_end(root):
    with client(root, live_limit_s=0.3) as connected, live(connected) as session:
        session.send_json({})
        assert problem_and_code(session)[0]["reason"] == "session_over"


def test_more_sessions_than_there_is_room_for_are_told_to_come_again(service):
    with live(service) as one, live(service) as other:
        for session in (one, other):
            session.send_json({})
            assert session.receive_json()["type"] == "ready"
        with live(service) as third:
            third.send_json({})
            told, code = problem_and_code(third)
    assert (told["reason"], told["status"], code) == ("busy", 429, 1013)
    with live(service) as session:
        session.send_json({})
        assert session.receive_json()["type"] == "ready"


def test_who_has_not_shown_a_key_takes_no_place_of_a_session(root, monkeypatch):
    monkeypatch.setattr(module, "HELLO_LIMIT_S", 0.4)
    with client(root, Access(hashlib.sha256(KEY).digest()), live_at_once=1) as connected:
        with live(connected) as silent, live(connected) as wrong:
            wrong.send_json({"key": "wrong"})
            assert problem_and_code(wrong)[0]["reason"] == "wrong_key"
            with live(connected) as session:
                session.send_json({"key": KEY.decode()})
                assert session.receive_json()["type"] == "ready"
                assert (connected.service.newcomers.taken, connected.service.sessions.taken) == (1, 1)
            began = time.monotonic()
            assert problem_and_code(silent)[0]["reason"] == "idle"
            assert time.monotonic() - began < 5  # not after `live_idle_s`
        assert connected.service.newcomers.taken == 0


def test_who_has_not_shown_a_key_is_one_of_a_few(root, monkeypatch):
    monkeypatch.setattr("emotion_ray.service.service.MOST_NEWCOMERS", 1)
    with client(root, live_at_once=2) as connected, live(connected) as silent:
        with live(connected) as next_one:
            told, code = problem_and_code(next_one)
        assert (told["reason"], code) == ("busy", 1013)
        silent.send_json({})
        assert silent.receive_json()["type"] == "ready"
        with live(connected) as session:
            session.send_json({})
            assert session.receive_json()["type"] == "ready"


def test_old_pictures_make_room_while_the_engine_is_slow_and_are_counted(service, monkeypatch):
    free, begun = threading.Event(), threading.Event()
    push = EmotionStream.push

    def slow(*arguments):
        begun.set()
        free.wait(10)
        return push(*arguments)

    monkeypatch.setattr(EmotionStream, "push", slow)
    with live(service) as session:
        session.send_json({})
        session.receive_json()
        session.send_bytes(message(0.0, PICTURE))
        assert begun.wait(5)
        for place in range(1, 21):
            session.send_bytes(message(place / 30, PICTURE))
        time.sleep(0.3)
        free.set()
        times, dropped = [], []
        for _ in range(1 + NEWEST_KEPT):
            told = session.receive_json()
            times.append(round(30 * told["time"]))
            dropped.append(told["dropped"])
    assert times == [0, *range(21 - NEWEST_KEPT, 21)]
    assert dropped[-1] == 20 - NEWEST_KEPT


def test_a_client_that_reads_nothing_gets_no_more_than_so_many_answers(service):
    """Its answers would pile up somewhere on the way, where nobody counts them."""
    with live(service) as session:
        session.send_json({})
        session.receive_json()
        sent = 0
        for place in range(3 * MOST_UNREAD):
            session.send_bytes(message(place / 30, PICTURE))
            sent += 1
            time.sleep(0.004)
        time.sleep(0.5)
        session.send_json({"end": True})
        answers = 0
        while (told := session.receive_json())["type"] == "frame":
            answers += 1
    assert MOST_UNREAD <= answers <= MOST_UNREAD + 2 * NEWEST_KEPT
    assert told["dropped"] >= sent - answers - NEWEST_KEPT


def test_a_client_that_goes_away_leaves_its_place(service):
    for _ in range(4):
        with live(service) as session:
            session.send_json({})
            session.receive_json()
            session.send_bytes(message(0.0, PICTURE))
    deadline = time.monotonic() + 5
    while service.service.sessions.taken and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.service.sessions.taken == 0


@pytest.mark.parametrize("kind", [".jpg", ".webp"])
@pytest.mark.parametrize(("width", "height"), [(17, 33), (640, 360), (1, 1), (300, 2)])
def test_sizes_are_read_from_headers(kind, width, height):
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    for quality in (60, 101 if kind == ".webp" else 95):
        assert picture_size(encoded(picture, kind, quality)) == (width, height)


def test_an_extended_webp_tells_its_canvas():
    body = b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + (1919).to_bytes(3, "little") + (1079).to_bytes(3, "little")
    assert picture_size(b"RIFF" + bytes(4) + b"WEBP" + body) == (1920, 1080)


def test_damaged_headers_are_problems():
    draw = np.random.default_rng(0)
    webp = encoded(np.zeros((20, 20, 3), np.uint8))
    for number in range(2000):
        content = bytearray(PICTURE if number % 2 else webp)
        for _ in range(int(draw.integers(1, 8))):
            content[int(draw.integers(min(len(content), 200)))] = int(draw.integers(256))
        content = content[: int(draw.integers(len(content) + 1))]
        try:
            width, height = picture_size(bytes(content))
        except Problem as refused:
            json.dumps(refused.document())
        else:
            assert 0 <= width < 2**24 + 1 and 0 <= height < 2**24 + 1


@pytest.mark.parametrize("put_in", [b"\xff\x00\x00\x02", b"\xff\xda\x00\x02" * 200], ids=["stuffed zero", "scans"])
def test_a_header_that_a_decoder_reads_otherwise_is_refused(put_in):
    """Behind a stuffed zero decoders look for the next marker, so they may find another size than we did."""
    assert picture_size(PICTURE) == (64, 48)
    at = 2 if put_in.startswith(b"\xff\x00") else len(PICTURE)
    with pytest.raises(Problem, match="bad_picture"):
        picture_size(PICTURE[:at] + put_in + PICTURE[at:])


class BrokenOff:
    """A websocket whose messages, after the first, are carried by something that has died."""

    application_state = WebSocketState.CONNECTED

    def __init__(self):
        self._messages = [{"type": "websocket.receive", "text": "{}"}]

    async def accept(self):
        pass

    async def receive(self):
        if not self._messages:
            raise RuntimeError("the actor died")
        return self._messages.pop()

    async def send_text(self, text):
        assert json.loads(text)["type"] == "ready"


def test_a_connection_that_dies_where_messages_are_carried_frees_its_place(service):
    began = time.monotonic()
    for _ in range(3):  # more than there are places
        assert service.portal.call(module.LiveSession(BrokenOff(), service.service).run) == module.ABNORMAL
    assert time.monotonic() - began < 10
