"""Takes that are not RAVDESS's: six of CREMA-D, by a manifest through prepare, evaluate and predict."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import av
import numpy as np
import pytest
from scripted_faces import small_model

from emotion_ray.cli import main
from emotion_ray.data.clips import read_clips
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.storage import Folder
from emotion_ray.models.store import save_model
from emotion_ray.real_clips import write_crema_d_manifest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(180)]

LONGEST = "data/1001_DFA_DIS_XX.flv"  # longer than a window


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A root whose store holds a small untrained model."""
    folder = tmp_path_factory.mktemp("root")
    model = small_model("lstm", size=64)
    save_model(folder / "models", "small", model.model.state_dict(), model.record)
    return folder


def run(*arguments: object) -> dict:
    """What one command prints as JSON."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(out.getvalue())


def test_a_manifest_of_them_goes_through_prepare_and_evaluate(ray_here, root, real_clips, tmp_path):
    manifest = write_crema_d_manifest(tmp_path / "crema_d.csv", next(iter(real_clips.values())).parents[1])
    prepared = run("prepare", "--source", manifest, "--root", root)
    assert (prepared["made"], prepared["rejects"]) == (6, [])
    clips = read_clips(Folder.at(root / "clips"))
    assert {EMOTIONS[emotion] for emotion in clips.emotion} == set(EMOTIONS) - {"calm", "surprised"}
    assert set(clips.actor) == {1001}
    assert (clips.found.sum(1) >= 55).all()
    told = run("evaluate", "--stored", "small", "--root", root, "--device", "cpu")
    (result,) = told["results"]
    assert result["protocol"] == "stored" and 0 <= result["uar"] <= 1
    assert result["uar"] == pytest.approx(result["war"])  # one clip of each emotion
    text = Path(told["report"]).with_suffix(".md").read_text()
    assert "6 clips of 1 actor," in text
    assert "There are no clips of calm, surprised." in text
    assert "All clips are of one actor" in text


def test_one_of_them_is_annotated(root, real_clips, tmp_path):
    take = real_clips[LONGEST]
    (told,) = run("predict", take, "--root", root, "--out", tmp_path, "--stride", 2)["videos"]
    (face,) = told["faces"]
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    with av.open(told["annotated"]) as written, av.open(str(take)) as source:
        assert written.streams.video[0].codec_context.name == "h264"
        after, before = (
            [frame.to_ndarray(format="rgb24") for frame in one.decode(video=0)] for one in (written, source)
        )
    assert len(after) == len(before) == told["frames"]
    changed = np.abs(after[-1].astype(int) - before[-1]).max(axis=2) > 60
    assert 0.02 < changed.mean() < 0.5
    rows = [json.loads(line) for line in Path(told["timeline"]).read_text().splitlines()]
    assert len(rows) >= 2 and not rows[-1]["early"]
    assert Path(told["picture"]).stat().st_size > 1000
