"""A Ray that a command starts is for its user alone."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from listening import on_loopback

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(150)]

STARTS = """
import json, os, subprocess, sys, time
from emotion_ray.distributed.cluster import connected
from listening import listening
from memory import tree

with connected(1):
    import ray
    ray.get(ray.remote(lambda: 0).remote())
    ports = [[name, *place] for place, name in listening(tree(os.getpid())).items()]
    address = ray.get_runtime_context().gcs_address
    ask = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]

    def answer(**token):
        asked = subprocess.run(ask, capture_output=True, text=True, env={**os.environ, **token})
        return {"code": asked.returncode, "out": asked.stdout, "err": asked.stderr}

    owner, until = answer(), time.monotonic() + 60
    while "No cluster status" in owner["out"] and time.monotonic() < until:  # which comes some seconds after Ray
        owner = answer()
    answers = {"owner": owner, "intruder": answer(RAY_AUTH_TOKEN="a-guess")}
    print(json.dumps({**answers, "mode": os.environ.get("RAY_AUTH_MODE"), "ports": ports}))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """What was seen of a Ray of its own, in a home that never had one."""
    home = tmp_path_factory.mktemp("home")
    folder = Path(tempfile.mkdtemp(prefix="er", dir="/tmp"))  # a short name: Ray puts sockets there
    here = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        done = subprocess.run(
            [sys.executable, "-c", STARTS],
            capture_output=True,
            text=True,
            timeout=120,
            env=here | {"HOME": str(home), "RAY_TMPDIR": str(folder), "PYTHONPATH": paths},
        )
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout.splitlines()[-1]) | {"home": home}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_token_is_for_its_owner_alone(own):
    token = own["home"] / ".ray" / "auth_token"
    assert len(token.read_text()) >= 32
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_who_has_not_the_token_is_turned_away(own):
    assert own["mode"] == "token"
    assert own["owner"]["code"] == 0, own["owner"]["err"]
    assert "Active" in own["owner"]["out"]
    assert own["intruder"]["code"] != 0
    assert "Active" not in own["intruder"]["out"]
    assert "AuthenticationError" in own["intruder"]["err"]
    assert "a-guess" not in own["intruder"]["err"]


def test_it_listens_on_loopback_alone(own):
    """Ray's daemons, its agents and a worker."""
    names = [name for name, _, _ in own["ports"]]
    assert {"gcs_server", "raylet"} <= set(names)
    assert any(name.startswith("ray::") for name in names)
    assert not [place for place in own["ports"] if not on_loopback(place[1])]
