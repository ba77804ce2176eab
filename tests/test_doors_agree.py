"""The command, the HTTP service and the websocket say the same of the same take."""

import io
import json
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from served import client, live, upload

from emotion_ray.cli import main
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.models.architectures import build
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import save_model
from emotion_ray.service.images import decode_picture
from emotion_ray.service.live import HEADER
from emotion_ray.settings import AttentionSettings, LSTMSettings

CLIP = "data/1001_DFA_DIS_XX.flv"  # 480x360: lossless pictures of 720p take their time
STRIDE = 2
SIZES = {"lstm": LSTMSettings(), "attention": AttentionSettings()}
LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]


@pytest.fixture(scope="module")
def take(real_clips) -> Path:
    return real_clips[CLIP]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A root with both models at their full size, of random weights that make windows differ."""
    folder = tmp_path_factory.mktemp("root")
    for architecture, size in SIZES.items():
        torch.manual_seed(7)
        model = build(architecture, size, 60, 64, len(EMOTIONS))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)
        record = ModelRecord(architecture, size, 60, 64, EMOTIONS)
        save_model(folder / "models", architecture, model.state_dict(), replace(record, created="2026-01-31T12:00:00Z"))
    return folder


def of_the_command(root: Path, take: Path, name: str, out: Path) -> dict[float, np.ndarray]:
    arguments = ["predict", str(take), "--root", str(root), "--model", name, "--stride", str(STRIDE), "--out", str(out)]
    with redirect_stderr(io.StringIO()):
        assert main(arguments) == 0
    rows = [json.loads(line) for line in (out / f"{take.stem}_timeline.jsonl").read_text().splitlines()]
    return {row["time"]: by_emotion(row) for row in rows}


def of_the_upload(service, take: Path, name: str) -> dict[float, np.ndarray]:
    [face] = upload(service, take.read_bytes(), take.name, model=name, stride=str(STRIDE)).json()["faces"]
    return {told["time"]: by_emotion(told) for told in face["timeline"]}


def of_the_pictures(service, take: Path, name: str) -> dict[float, np.ndarray]:
    found, start = {}, None
    with live(service) as session, av.open(str(take)) as container:
        session.send_json({"model": name, "stride": STRIDE})
        assert session.receive_json()["type"] == "ready"
        for number, frame in enumerate(container.decode(video=0)):
            rgb = frame.to_ndarray(format="rgb24")
            picture = cv2.imencode(".webp", rgb[..., ::-1], LOSSLESS)[1].tobytes()
            if number == 0:
                np.testing.assert_array_equal(decode_picture(picture, rgb.shape[0] * rgb.shape[1]), rgb)
            start = frame.time if start is None else start
            session.send_bytes(HEADER.pack(frame.time - start, number) + picture)
            [face] = session.receive_json()["faces"]
            if face["prediction"] is not None:
                found[face["prediction"]["time"]] = by_emotion(face["prediction"])
    return found


def by_emotion(told: dict) -> np.ndarray:
    return np.array([told["probabilities"][emotion] for emotion in EMOTIONS])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_all_doors_agree_on_a_real_take(root, take, tmp_path, one_thread):
    with client(root) as service:
        for name in SIZES:
            command = of_the_command(root, take, name, tmp_path / name)
            assert len(command) > 2
            assert max(np.abs(one - other).max() for one in command.values() for other in command.values()) > 1e-3
            for other in (of_the_upload(service, take, name), of_the_pictures(service, take, name)):
                assert list(other) == list(command)
                for time_s, probabilities in command.items():
                    np.testing.assert_allclose(other[time_s], probabilities, atol=1e-4)
