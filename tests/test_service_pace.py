"""What becomes of clients that read their answers slowly or not at all."""

import asyncio
import time

import httpx2
import pytest
from served import LOCAL, store_model

from emotion_ray.service import pace as module
from emotion_ray.service.access import Access
from emotion_ray.service.app import create_app
from emotion_ray.service.metrics import Unmeasured
from emotion_ray.service.pace import PIECE, Pace
from emotion_ray.settings import ServeSettings

FORM = b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\nv\r\n'
FORM += b'--x\r\nContent-Disposition: form-data; name="annotate"\r\n\r\ntrue\r\n--x--\r\n'
VIDEO = bytes(range(256)) * 4096  # 1 MiB


class Client:
    """An ASGI client of one upload; it reads pieces of the answer while `reads` is set."""

    def __init__(self, app):
        self.reads = asyncio.Event()
        self.status = None
        self.pieces = []
        self._sent = False
        self._over = asyncio.Event()
        headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"multipart/form-data; boundary=x")]
        scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers, "query_string": b""}
        scope |= {"http_version": "1.1", "scheme": "http", "root_path": "", "raw_path": b"/v1/predict"}
        scope |= {"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 9)}
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self):
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": FORM, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        await self.reads.wait()
        self.pieces.append(message["body"])
        if not message.get("more_body"):
            self._over.set()

    async def answered(self):
        """Until the answer has begun."""
        while self.status is None:
            await asyncio.sleep(0.005)
        return self.status


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An app with one place, whose annotated videos are of a mebibyte."""
    store_model(tmp_path, "tiny")
    monkeypatch.setattr("emotion_ray.service.app.annotate", lambda *_: VIDEO)
    return create_app(ServeSettings(root=str(tmp_path), queue=0), Access())


def test_an_answer_has_its_place_in_the_queue_until_it_was_read(app):
    async def two_clients():
        slow = Client(app)
        assert await slow.answered() == 200
        other = Client(app)
        assert await other.answered() == 429
        slow.reads.set()
        await slow.task
        assert b"".join(slow.pieces) == VIDEO and max(map(len, slow.pieces)) <= PIECE
        late = Client(app)
        late.reads.set()
        assert await late.answered() == 200
        await late.task
        assert app.state.service.queue.taken == 0

    asyncio.run(asyncio.wait_for(two_clients(), 30))


def test_who_reads_nothing_is_cut_off(app, monkeypatch):
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    monkeypatch.setattr(module, "SLOWEST", 1e9)

    async def one_client():
        client = Client(app)
        assert await client.answered() == 200
        await client.task
        assert client.pieces == [] and app.state.service.queue.taken == 0

    asyncio.run(asyncio.wait_for(one_client(), 30))


def test_the_latency_that_is_measured_ends_with_the_beginning_of_the_answer(tmp_path, monkeypatch):
    latencies = []

    class Noted(Unmeasured):
        def answered(self, route, status, seconds):
            latencies.append(seconds)

    async def one_client() -> float:
        began = time.monotonic()
        client = Client(app)
        await client.answered()
        await asyncio.sleep(0.3)
        client.reads.set()
        await client.task
        return time.monotonic() - began

    store_model(tmp_path, "tiny")
    monkeypatch.setattr("emotion_ray.service.app.annotate", lambda *_: VIDEO)
    app = create_app(ServeSettings(root=str(tmp_path)), Access(), Noted())
    took = asyncio.run(one_client())
    assert len(latencies) == 1 and latencies[0] <= took - 0.3


def test_who_goes_away_leaves_its_place(app):
    async def one_client():
        client = Client(app)
        assert await client.answered() == 200
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        assert app.state.service.queue.taken == 0

    asyncio.run(asyncio.wait_for(one_client(), 30))


def test_the_pace_counts_the_wait_for_the_client_alone(monkeypatch):
    """An app that takes its time, and a client that reads at once."""
    monkeypatch.setattr(module, "GRACE_S", 0.1)

    async def slow_app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(4):
            await asyncio.sleep(0.05)
            await send({"type": "http.response.body", "body": b"12", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def ask():
        transport = httpx2.ASGITransport(Pace(slow_app))
        async with httpx2.AsyncClient(transport=transport, base_url=LOCAL) as client:
            return await client.get("/")

    assert asyncio.run(ask()).content == b"12121212"


@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_pieces_come_to_the_whole(length):
    content = bytes(index % 251 for index in range(length))
    sent = []

    async def note(message):
        sent.append(message)

    async def whole(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})

    asyncio.run(Pace(whole)({"type": "http"}, None, note))
    start, *bodies = sent
    assert start["status"] == 200 and b"".join(one["body"] for one in bodies) == content
    assert [one.get("more_body", False) for one in bodies] == [True] * (len(bodies) - 1) + [False]
    assert len(bodies) == max(-(-length // PIECE), 1)
