"""How the answer for a video is written, however long it is."""

import json
import threading

from portrait_video import portrait_video
from pydantic_core import to_json
from served import client, store_model, upload

from emotion_ray.service import prediction as module
from emotion_ray.service.prediction import as_json


def test_an_answer_is_written_beside_the_event_loop(tmp_path, monkeypatch):
    threads = []

    def noted(answer):
        threads.append(threading.current_thread().name)
        return as_json(answer)

    monkeypatch.setattr("emotion_ray.service.app.as_json", noted)
    store_model(tmp_path, "tiny")
    with client(tmp_path) as service:
        assert upload(service, portrait_video(frames=3)).json()["frames"] == 3
    assert len(threads) == 1 and threads[0].startswith("work")


def test_no_call_writes_much_of_a_long_answer(monkeypatch):
    """Each holds Python's lock, and the event loop waits for it."""
    told = {"time": 1.5, "label": "happy", "attention": [1 / 60] * 60}
    answer = {"label": None, "faces": [{"track": 1, "timeline": [told] * 2000, "boxes": []}], "fps": 29.97}
    lengths = []

    def noted(value):
        lengths.append(len(to_json(value)))
        return to_json(value)

    monkeypatch.setattr(module, "to_json", noted)
    written = as_json(answer)
    assert json.loads(written) == answer
    assert len(written) > 1_000_000 and max(lengths) < 2000
