import hashlib

import pytest
from portrait_video import portrait_video
from served import client, live, problem, store_model, upload
from starlette.websockets import WebSocketDisconnect

from emotion_ray.cli import main
from emotion_ray.errors import EmotionRayError
from emotion_ray.service.access import KEY_VARIABLE, Access, access_of
from emotion_ray.settings import ServeSettings

KEY = "a key for tests, long enough"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    store_model(folder, "tiny")
    return folder


@pytest.fixture
def open_service(root):
    with client(root) as connected:
        yield connected


@pytest.fixture
def locked(root):
    with client(root, Access(hashlib.sha256(KEY.encode()).digest())) as connected:
        yield connected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])
def test_only_loopback_is_served_without_a_key(host, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(EmotionRayError, match=f"set {KEY_VARIABLE} or give --api-key-file"):
        access_of(ServeSettings(host=host))
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert access_of(ServeSettings(host=host)).key_digest is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_key(host, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert access_of(ServeSettings(host=host)).key_digest is None


def test_a_key_comes_from_a_file_too_and_is_not_kept(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    access = access_of(ServeSettings(api_key_file=str(file)))
    access.check_key(KEY)
    assert KEY not in repr(access)
    with pytest.raises(EmotionRayError, match=r"can't read the API key from .*nothing: No such file"):
        access_of(ServeSettings(api_key_file=str(tmp_path / "nothing")))
    file.write_text("short")
    with pytest.raises(EmotionRayError, match="has 5 characters: give it at least 16"):
        access_of(ServeSettings(api_key_file=str(file)))


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"])
def test_a_wrong_key_is_refused(locked, header):
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    problem(upload(locked, portrait_video(frames=2), headers=headers), 401, "wrong_key")
    answer = locked.get("/v1/models", headers=headers)
    problem(answer, 401, "wrong_key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_right_key_is_taken(locked):
    headers = {"Authorization": f"Bearer {KEY}"}
    assert upload(locked, portrait_video(frames=2), headers=headers).status_code == 200
    assert locked.get("/v1/models", headers=headers).status_code == 200


def test_the_page_and_the_probes_need_no_key(locked):
    for path in ("/", "/page/app.js", "/healthz", "/readyz", "/openapi.json"):
        assert locked.get(path).status_code == 200


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_live_session_needs_the_key(locked, key):
    with live(locked) as session:
        session.send_json({"key": key})
        assert session.receive_json()["reason"] == "wrong_key"
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
    assert closed.value.code == 1008


def test_a_live_session_takes_the_right_key(locked):
    with live(locked) as session:
        session.send_json({"key": KEY})
        assert session.receive_json()["type"] == "ready"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "["]
)
def test_a_foreign_host_is_refused(open_service, host):
    headers = {"Host": host}
    problem(upload(open_service, portrait_video(frames=2), headers=headers), 421, "foreign_host")
    problem(open_service.get("/v1/models", headers=headers), 421, "foreign_host")
    with pytest.raises(WebSocketDisconnect), live(open_service, headers):
        pass


@pytest.mark.parametrize(
    "host", ["localhost:8000", "LOCALHOST", "127.0.0.1", "[::1]:8000", "10.0.0.7:80", "cam.lan:8000"]
)
def test_our_own_names_are_taken(root, host):
    with client(root, Access(allowed_hosts=("cam.lan",))) as connected:
        assert connected.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1", "file://", "http://["]
)
def test_a_foreign_origin_is_refused(open_service, origin):
    headers = {"Origin": origin, "Host": "127.0.0.1:8000"}
    problem(upload(open_service, portrait_video(frames=2), headers=headers), 403, "foreign_origin")
    with pytest.raises(WebSocketDisconnect) as closed, live(open_service, headers):
        pass
    assert closed.value.code == 1008


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://127.0.0.1:8000"])
def test_the_page_itself_may(open_service, origin):
    headers = {"Origin": origin, "Host": "127.0.0.1:8000"}
    assert upload(open_service, portrait_video(frames=2), headers=headers).status_code == 200
    with live(open_service, headers) as session:
        session.send_json({})
        assert session.receive_json()["type"] == "ready"


def test_probes_of_an_orchestrator_may_use_any_host(open_service):
    assert open_service.get("/healthz", headers={"Host": "pod-7.cluster"}).status_code == 200


def test_the_command_refuses_to_serve_others_without_a_key_and_starts_nothing(root, monkeypatch, capsys):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert main(["serve", "--host", "0.0.0.0", "--root", str(root)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "without an API key the service listens on this machine alone, not on 0.0.0.0" in said.err


@pytest.mark.parametrize("key", ["k\u00fcrzer-geht-es-nicht", "two lines of a\nlonger text"])
def test_a_key_that_no_header_can_carry_is_refused(key, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(EmotionRayError, match="can't travel in a header"):
        access_of(ServeSettings())
