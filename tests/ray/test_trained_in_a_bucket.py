"""A model that is trained and kept in an object store, and used from there; nothing of it holds a secret."""

import os
import subprocess
import sys

import pytest
import s3_server
from portrait_video import portrait_video
from small_clips import write_small_clips

from emotion_ray.data.storage import Folder

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(180)]

SECRET = "planted"


def test_train_and_predict_with_a_bucket_as_root(tmp_path, monkeypatch):
    with s3_server.running() as store:
        secrets = s3_server.environment(store.url)
        assert any(SECRET in value for value in secrets.values())
        for name, value in secrets.items():
            monkeypatch.setenv(name, value)
        root = f"s3://{store.bucket()}/root"
        write_small_clips(f"{root}/clips")
        (tmp_path / "take.mp4").write_bytes(portrait_video(frames=8))
        told = ""
        for words in (
            ("train", "--root", root, "--run", "first", "--epochs", "1", "--device", "cpu", "--cpus-per-worker", "1"),
            ("predict", "take.mp4", "--root", root, "--model", "first"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "emotion_ray.cli", *words],
                cwd=tmp_path,
                env={**os.environ, "HOME": str(tmp_path / "home")},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            told += done.stdout + done.stderr
        folder = Folder.at(root)
        made = {name: folder.read(name) for name in folder.names()}
    assert {"runs/first/run.json", "models/first/model.pth", "models/first/model.json"} <= set(made)
    assert (tmp_path / "take_annotated.mp4").stat().st_size > 1000
    assert SECRET not in told
    assert not [name for name, content in made.items() if SECRET.encode() in content]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
