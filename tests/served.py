"""A service for tests: its store holds tiny untrained models, its limits are small."""

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import uvicorn
from starlette.testclient import TestClient

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.models.architectures import build
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import save_model
from emotion_ray.service.access import Access
from emotion_ray.service.app import create_app
from emotion_ray.settings import AttentionSettings, LSTMSettings, ServeSettings

FRAMES = 12
SIZES = {"lstm": LSTMSettings(hidden_size=8), "attention": AttentionSettings(embedding=8, heads=2, feed_forward=8)}
LOCAL = "http://127.0.0.1:8000"


def store_model(
    root: Path, name: str, architecture: str = "lstm", frames: int = FRAMES, uar: float | None = None
) -> None:
    """Puts an untrained model with random weights into the store under a root; `uar` as if it had been measured."""
    torch.manual_seed(len(name))
    model = build(architecture, SIZES[architecture], frames, 64, len(EMOTIONS))
    with torch.no_grad():
        for parameter in model.parameters():  # so that windows differ in what comes out
            parameter.mul_(3)
    record = ModelRecord(architecture, SIZES[architecture], frames, 64, EMOTIONS, created="2026-01-31T12:00:00Z")
    record = replace(record, metrics={} if uar is None else {"uar": [uar, uar - 0.1, uar + 0.1]})
    save_model(root / "models", name, model.state_dict(), record)


@contextmanager
def client(root: Path, access: Access = Access(), base: str = LOCAL, **settings):
    """A client of an app of its own."""
    app = create_app(ServeSettings(root=str(root), **settings), access)
    with TestClient(app, base_url=base, raise_server_exceptions=False) as connected:
        connected.service = app.state.service
        yield connected


@contextmanager
def serving(root: Path):
    """The service and its page as a browser meets them, without Ray, on a port of its own: gives the address."""
    app = create_app(ServeSettings(root=str(root)), Access())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def live(connected: TestClient, headers: dict | None = None):
    """Opens the websocket of a live session; used as a context manager."""
    return connected.websocket_connect(LOCAL.replace("http", "ws") + "/v1/stream", headers=dict(headers or {}))


def upload(connected: TestClient, content: bytes, name: str = "take.mp4", headers: dict | None = None, **fields):
    """Posts a video."""
    files = {"video": (name, content, "video/mp4")}
    return connected.post("/v1/predict", files=files, data=fields, headers=headers)


def problem(answer, status: int, reason: str) -> str:
    """Checks that an answer is this problem, whole and without a traceback; gives its detail."""
    document = answer.json()
    assert (answer.status_code, document.get("reason")) == (status, reason), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(document) == {"type", "title", "status", "reason", "detail"}
    assert document["status"] == status and document["type"] == f"urn:emotion-ray:problem:{reason}"
    assert "Traceback" not in answer.text and "/emotion_ray/" not in answer.text
    return document["detail"]
