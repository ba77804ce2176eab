"""The job with all that it makes in an object store; and nothing that it makes, says or logs holds a secret."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import s3_server
from fake_zenodo import FakeZenodo, Fault
from portrait_video import actor_archive

from emotion_ray.data.clips import read_clips
from emotion_ray.data.ravdess import archive_name
from emotion_ray.data.storage import Folder

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

SECRET = "planted"


@pytest.fixture
def ray_folder():
    """Where a Ray keeps its logs; of a short name, since it puts sockets there too."""
    folder = Path(tempfile.mkdtemp(prefix="er", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_clips_go_to_a_bucket_and_secrets_nowhere(tmp_path, ray_folder, monkeypatch):
    """In a process of its own: its Ray's workers must find the store by themselves."""
    archives = {archive_name(actor): actor_archive(actor, 3) for actor in (1, 2)}
    with s3_server.running() as store, FakeZenodo(archives) as zenodo:
        zenodo.fail_always(archive_name(2), Fault(status=403))
        secrets = s3_server.environment(store.url) | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": f"{SECRET}-token"}
        assert sum(SECRET in value for value in secrets.values()) == 4
        for name, value in secrets.items():
            monkeypatch.setenv(name, value)
        root = f"s3://{store.bucket()}/root"
        address = zenodo.url.replace("http://", f"http://someone:{SECRET}-password@")
        flags = ["--base-url", address, "--actors", "1-2", "--root", root, "--frames", "8", "--workers", "2", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "emotion_ray.cli", "prepare", *flags],
            capture_output=True,
            text=True,
            timeout=200,
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path / "home"), "RAY_TMPDIR": str(ray_folder)},
        )
        assert done.returncode == 0, done.stderr
        assert zenodo.requests[0].headers["Authorization"].startswith("Basic ")
        result = json.loads(done.stdout)
        assert (result["clips"], result["out"]) == (3, f"{root}/clips")
        assert [reject["reason"] for reject in result["rejects"]] == ["forbidden"]
        folder = Folder.at(f"{root}/clips")
        assert len(read_clips(folder)) == 3
        made = {name: folder.read(name) for name in folder.names()}
    assert {"contact_sheet.png", "prepared.json", "rejects.parquet"} <= set(made)
    assert {path.name for path in tmp_path.iterdir()} <= {"home"}, "nothing else was left on the disk"
    assert SECRET not in done.stdout + done.stderr
    assert not [name for name, content in made.items() if SECRET.encode() in content]
    files = [path for folder in (tmp_path, ray_folder) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".log"], "these are the logs"
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
