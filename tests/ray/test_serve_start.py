"""Where the service must not start, and what is left of it then."""

import socket
import time
from types import SimpleNamespace

import httpx2
import pytest
from free_ports import free_ports
from rich.console import Console
from served import store_model

from emotion_ray.cli import main
from emotion_ray.distributed import serve as module
from emotion_ray.distributed.serve import build, serving
from emotion_ray.errors import EmotionRayError
from emotion_ray.service.access import KEY_VARIABLE, Access
from emotion_ray.settings import ServeSettings

pytestmark = pytest.mark.ray
KEY = "a key for tests, long enough"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    store_model(folder, "tiny")
    return str(folder)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def serve_that_runs(ray_here):
    """Starts Serve at an address, as a config or somebody else does; it ends with the test."""
    from ray import serve

    def start(host: str, port: int):
        serve.start(http_options={"host": host, "port": port})
        return serve

    yield start
    serve.shutdown()


@pytest.mark.timeout(120)
def test_no_replica_starts_without_a_key_where_serve_listens_to_others(serve_that_runs, root, port, monkeypatch):
    """Whatever the settings say: `host` is right for none of these ways to start."""
    serve = serve_that_runs("0.0.0.0", port)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    settings = {"root": root, "host": "127.0.0.1", "port": port}
    says = "without an API key the service listens on this machine alone, not on 0.0.0.0"
    with pytest.raises(EmotionRayError, match=says), serving(ServeSettings(**settings), Console()):
        pytest.fail("it serves")
    with pytest.raises(RuntimeError):
        serve.run(build(settings), name="emotion_ray", route_prefix="/")
    assert says in serve.status().applications["emotion_ray"].deployments["replica"].message
    serve.delete("emotion_ray")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with serving(ServeSettings(**settings), Console()) as url:
        assert url == f"http://0.0.0.0:{port}"
        answers = [
            httpx2.get(f"http://127.0.0.1:{port}/v1/models", headers=headers).status_code
            for headers in ({}, {"Authorization": f"Bearer {KEY}"})
        ]
    assert answers == [401, 200]
    assert serve.status().proxies and not serve.status().applications  # somebody else's Serve runs on


def test_replicas_that_fit_on_no_machine_are_refused(ray_here, root):
    says = r"^1 replicas x 64 CPU = 64 CPU, and .* room for 0: give fewer"
    settings = ServeSettings(root=root, cpus_per_replica=64)
    with pytest.raises(EmotionRayError, match=says), serving(settings, Console()):
        pytest.fail("it serves")


@pytest.mark.parametrize(("host", "starts"), [("0.0.0.0", False), ("10.0.0.7", False), ("127.0.0.1", True)])
def test_a_replica_asks_serve_where_it_listens(root, monkeypatch, host, starts):
    monkeypatch.setattr(module, "_get_global_client", lambda: SimpleNamespace(http_config=SimpleNamespace(host=host)))
    replica = module.Replica.func_or_class.__mro__[1]
    if starts:
        replica(ServeSettings(root=root), Access())
    else:
        with pytest.raises(EmotionRayError, match=f"not on {host}"):
            replica(ServeSettings(root=root), Access())
    replica(ServeSettings(root=root), Access(key_digest=b"digest"))


@pytest.mark.timeout(120)
def test_a_port_that_is_taken_is_one_line_and_leaves_no_serve(ray_here, root):
    from ray import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ServeSettings(root=root, port=taken.getsockname()[1])
        with (
            pytest.raises(EmotionRayError, match=r"^Serve does not start \([^\n]*\): [^\n]* --port[^\n]*$"),
            serving(settings, Console()),
        ):
            pytest.fail("it serves")
    deadline = time.monotonic() + 20
    while serve.status().proxies and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not serve.status().proxies and not serve.status().applications


def test_the_applications_of_others_stay(monkeypatch):
    """Only our application is deleted where Serve is not ours or serves others too."""
    done = []
    fake = SimpleNamespace(delete=done.append, shutdown=lambda: done.append("all"))
    monkeypatch.setattr(module, "serve", fake)
    for ours, names, expected in (
        (True, ["theirs", "emotion_ray"], ["emotion_ray"]),
        (True, ["theirs"], []),
        (True, ["emotion_ray"], ["all"]),
        (True, [], ["all"]),  # it started by half
        (False, ["emotion_ray"], ["emotion_ray"]),
        (False, [], []),
    ):
        fake.status = lambda names=names: SimpleNamespace(applications=dict.fromkeys(names))
        module._stop(ours)
        assert done == expected
        done.clear()


def test_the_command_refuses_a_port_that_serve_would_choose(root, capsys):
    assert main(["serve", "--port", "0", "--root", root]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "emotion-ray: port is 0: give a whole number from 1 to 65535\n")
