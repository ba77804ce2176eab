import asyncio
import json
import os
import signal
import threading
import time
from dataclasses import fields
from pathlib import Path

import cv2
import httpx2
import pytest
import yaml
from free_ports import free_ports
from memory import tree
from portrait_video import portrait_video
from rich.console import Console
from served import FRAMES, store_model
from skimage.data import astronaut
from websockets.sync.client import connect

from emotion_ray.distributed import serve as module
from emotion_ray.distributed import serve_proxy
from emotion_ray.distributed.serve import build, serving
from emotion_ray.errors import EmotionRayError
from emotion_ray.service.access import KEY_VARIABLE, Access
from emotion_ray.service.live import HEADER
from emotion_ray.settings import ServeSettings

pytestmark = pytest.mark.ray
schemas = pytest.importorskip("ray.serve.schema")
CONFIG = Path(__file__).parents[2] / "cluster" / "serve.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    store_model(folder, "tiny", uar=0.5)
    return folder


@pytest.fixture(scope="module")
def console():
    return Console(width=200)


@pytest.fixture(scope="module")
def address(ray_here, root, console):
    """Two replicas behind a port that is free."""
    settings = ServeSettings(root=str(root), port=free_ports(1)[0], replicas=2, queue=1, live_idle_s=5.0)
    with serving(settings, console) as url:
        yield url


def post(address: str, frames: int = 15, **fields) -> httpx2.Response:
    files = {"video": ("take.mp4", portrait_video(frames=frames), "video/mp4")}
    return httpx2.post(f"{address}/v1/predict", files=files, data=fields, timeout=60)


def status(answer: httpx2.Response | Exception) -> int:
    """0 of a request that got no answer."""
    return 0 if isinstance(answer, Exception) else answer.status_code


def outcome(address: str, frames: int) -> httpx2.Response | Exception:
    """What a client gets, be it no answer at all."""
    try:
        return post(address, frames)
    except httpx2.HTTPError as error:
        return error


def replicas() -> list[int]:
    """Ids of the processes that serve."""
    named = b"ray::ServeReplica:emotion_ray:replica"
    return [pid for pid in tree(os.getpid()) if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(named)]


@pytest.mark.timeout(180)
def test_the_service_answers_through_serve(address, root):
    answer = post(address, frames=FRAMES + 10, stride="5")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["model"]["name"] == "tiny" and len(told["faces"][0]["timeline"]) == 3
    assert "<title>emotion_ray</title>" in httpx2.get(address).text
    refused = httpx2.get(f"{address}/v1/models", headers={"Host": "evil.example"})
    assert (refused.status_code, refused.headers["content-type"]) == (421, "application/problem+json")
    store_model(root, "better", uar=0.9)
    time.sleep(2.5)
    assert {post(address).json()["model"]["name"] for _ in range(4)} == {"better"}


def test_a_live_session_goes_through_serve(address):
    picture = portrait_frame()
    with connect(address.replace("http", "ws") + "/v1/stream") as session:
        session.send(json.dumps({"model": "tiny"}))
        assert json.loads(session.recv())["type"] == "ready"
        for place in range(5):
            session.send(HEADER.pack(place / 30, place) + picture)
            told = json.loads(session.recv())
        assert told["type"] == "frame" and told["faces"][0]["buffered"] == 5
        session.send(b"garbage")
        assert json.loads(session.recv())["reason"] == "bad_picture"
        with pytest.raises(Exception) as closed:
            session.recv()
    assert closed.value.rcvd.code == 1007


def portrait_frame() -> bytes:
    """A JPEG of a face."""
    return cv2.imencode(".jpg", astronaut()[0:300, 50:450, ::-1])[1].tobytes()


@pytest.mark.timeout(180)
def test_a_replica_that_is_killed_costs_its_own_requests_alone(address):
    post(address, frames=600)  # made once, which takes seconds
    answers, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            answers.append(outcome(address, frames=600))  # long: hardly ever is a replica without one

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    before = replicas()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    time.sleep(8)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    bad = [answer for answer in answers if status(answer) not in (200, 429)]
    assert len(answers) > 5 and 1 <= len(bad) <= 3
    for answer in bad:
        assert status(answer) == 503, answer
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["reason"] == "unavailable"
    until = time.monotonic() + 60
    while len(replicas()) < 2 and time.monotonic() < until:
        time.sleep(0.5)
    assert len(replicas()) == 2
    assert post(address).status_code == 200


@pytest.mark.timeout(120)
def test_too_much_is_answered_429_and_nothing_else(address):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(outcome(address, frames=30))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    statuses = [status(answer) for answer in answers]
    assert len(statuses) == 16
    assert set(statuses) == {200, 429} and statuses.count(200) >= 2
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["reason"] == "busy"


def test_what_can_not_be_is_told_in_one_line(ray_here, root, console, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    for settings, says in (
        ({"replicas": 64}, "64 replicas x 1 CPU = 64 CPU"),
        ({"model": "nobody"}, "there is no model 'nobody'"),
        ({"host": "0.0.0.0"}, "without an API key"),
        ({"port": 0}, "port is 0: give a whole number from 1 to 65535"),
    ):
        with pytest.raises(EmotionRayError, match=says), serving(ServeSettings(root=str(root), **settings), console):
            pytest.fail("it serves")


def test_the_config_has_no_key_that_serve_does_not_know():
    """Serve itself takes keys that it does not know in silence."""
    config = yaml.safe_load(CONFIG.read_text())

    def check(given: dict, known: dict, where: str) -> None:
        assert set(given) <= set(known), f"{where}: {set(given) - set(known)}"

    schema = schemas.ServeDeploySchema(**config)
    check(config, schemas.ServeDeploySchema.model_fields, "config")
    check(config["http_options"], type(schema.http_options).model_fields, "http_options")
    [application] = config["applications"]
    check(application, type(schema.applications[0]).model_fields, "application")
    check(application["args"], {one.name: one for one in fields(ServeSettings)}, "args")
    assert config["http_options"]["host"] == application["args"]["host"] == "127.0.0.1"
    assert config["http_options"]["port"] == application["args"]["port"]
    assert application["import_path"] == f"{build.__module__}:{build.__name__}"
    settings = ServeSettings(**application["args"])
    assert config["http_options"]["request_timeout_s"] >= module.request_timeout(settings)
    callback = config["controller_options"]["runtime_env"]["env_vars"][serve_proxy.CALLBACK]
    assert callback == module.PROXY_CALLBACK
    build(application["args"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"replica": 2}, "there is no setting 'replica'"),
        ({"stride": "many"}, "the setting stride: "),
        ({"stride": 0}, "stride is 0"),
        ({"stride": 5}, "without an API key"),
    ],
)
def test_arguments_of_a_config_are_checked(arguments, says, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(EmotionRayError, match=says):
        build(arguments)


def answered(app, kind: str = "http", headers: tuple = ()) -> tuple[list[dict], dict]:
    """What a client gets through the proxy's middleware from an app, and the scope that the app saw."""
    sent, seen = [], {}

    async def noting(scope, receive, send):
        seen.update(scope)
        await app(scope, receive, send)

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "headers": list(headers), "path": "/"}
    asyncio.run(serve_proxy.ProblemsOfServe(noting)(scope, None, send))
    return sent, seen


@pytest.mark.parametrize(
    ("status", "expected", "reason"), [(429, 429, "busy"), (408, 503, "request_timeout"), (503, 503, "unavailable")]
)
def test_what_the_proxy_itself_answers_becomes_a_problem(status, expected, reason):
    async def proxy(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"some words"})

    sent, _ = answered(proxy)
    assert sent[0]["status"] == expected
    assert json.loads(sent[1]["body"])["reason"] == reason
    assert len(sent) == 2


def test_silence_becomes_a_problem_and_the_apps_own_answers_stay():
    async def silent(scope, receive, send):
        pass

    sent, _ = answered(silent)
    assert sent[0]["status"] == 503 and json.loads(sent[1]["body"])["reason"] == "unavailable"

    async def fine(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    assert [message.get("body") for message in answered(fine)[0]] == [None, b"fine"]


def test_clients_do_not_set_the_proxys_time_limit_and_live_sessions_have_none():
    async def silent(scope, receive, send):
        pass

    theirs = ((b"x-request-timeout-seconds", b"9999"),)
    assert answered(silent, headers=theirs)[1]["headers"] == []
    assert answered(silent, "websocket", theirs)[1]["headers"] == [(b"x-request-timeout-seconds", b"0")]


def test_a_replica_whose_work_hangs_is_unhealthy(root, monkeypatch):
    replica = module.Replica.func_or_class.__mro__[1]
    made = object.__new__(replica)
    made._app = type("App", (), {"state": type("State", (), {"service": type("Service", (), {"hangs": False})})})
    made.check_health()
    made._app.state.service.hangs = True
    with pytest.raises(RuntimeError, match="hangs"):
        made.check_health()


def test_a_replica_that_is_let_go_ends_what_it_works_on_first():
    settings = ServeSettings(host="127.0.0.1", max_replicas=3)
    deployment = module.application(settings, Access())._bound_deployment
    assert deployment._deployment_config.graceful_shutdown_timeout_s == module.request_timeout(settings) > 120
