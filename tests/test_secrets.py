"""Secrets that were planted never come out again: in no message, no record, no log."""

import hashlib
import json
import logging

import pytest
from portrait_video import portrait_video
from served import client, live, store_model, upload

from emotion_ray.cli import main
from emotion_ray.data.http_transfer import shown
from emotion_ray.errors import EmotionRayError
from emotion_ray.service.access import KEY_VARIABLE, Access, access_of
from emotion_ray.settings import ServeSettings

SECRET = "planted-secret-0123456789"

ADDRESSES = [
    f"http://someone:{SECRET}@127.0.0.1:9",
    f"http://{SECRET}@127.0.0.1:9/mirror",
    f"http://127.0.0.1:9/?X-Amz-Signature={SECRET}",
    f"http://127.0.0.1:9/?sig={SECRET}#{SECRET}",
    f"ftp://someone:{SECRET}@127.0.0.1/",
    f"http://someone:{SECRET}@127.0.0.1:port/",
    f"http://someone:{SECRET} @127.0.0.1:9/",
    f"https://someone:{SECRET}@",
    f"http://[{SECRET}@127.0.0.1/",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_mirrors_address_is_told_without_its_secrets(address, tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    assert main(["prepare", "--base-url", address, "--actors", "1", "--root", str(tmp_path / "root")]) == 1
    output = capfd.readouterr()
    assert output.err.count("\n") == 1
    assert SECRET not in output.out + output.err + caplog.text
    assert not list(tmp_path.rglob("*")), "nor was anything written"


@pytest.mark.parametrize("flag", ["--source", "--cache", "--out", "--root"])
def test_an_address_in_the_wrong_place_is_not_told_either(flag, tmp_path, capfd):
    where = ["--out", str(tmp_path / "out")] if flag in ("--source", "--cache") else []
    assert main(["prepare", "--actors", "1", flag, f"https://someone:{SECRET}@host/x?sig={SECRET}", *where]) == 1
    output = capfd.readouterr()
    assert output.err.count("\n") == 1
    assert SECRET not in output.out + output.err
    assert not list(tmp_path.iterdir())


SIGNED = f"https://someone:{SECRET}@host/take.mp4?sig={SECRET}"


@pytest.mark.parametrize(
    "words",
    [
        *((command, flag, SIGNED) for command in ("train", "tune", "evaluate") for flag in ("--root", "--clips")),
        ("reproduce", "--yes", "--root", SIGNED),
        ("reproduce", "--yes", "--clips", SIGNED),
        ("demo", "--root", SIGNED),
        ("export", "--png", "png", "--clips", SIGNED),
        ("export", "--png", SIGNED),
        ("predict", SIGNED),
        ("predict", "take.mp4", "--out", SIGNED),
        ("predict", "take.mp4", "--root", SIGNED),
        ("serve", "--root", SIGNED),
        ("prepare", "--source", "takes.csv", "--out", "clips"),
    ],
    ids=lambda words: " ".join(words[:3]).replace(SIGNED, "ADDRESS"),
)
def test_no_command_tells_an_address_that_it_can_not_use(words, tmp_path, monkeypatch, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOTION_RAY_HOME", str(tmp_path / "home"))
    (tmp_path / "takes.csv").write_text(f"path,label,actor\n{SIGNED},happy,1\n")
    assert main(list(words)) in (1, 2)
    output = capfd.readouterr()
    assert output.err.startswith("emotion-ray: ") and output.err.count("\n") == 1
    assert SECRET not in output.out + output.err + caplog.text
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "takes.csv"]
    assert not [path for path in written if SECRET in path.read_text(errors="ignore")]


def test_what_is_shown_of_a_url():
    assert shown(f"https://a:{SECRET}@host:1/x?sig={SECRET}#{SECRET}") == "https://host:1/x"


def test_a_service_tells_nobody_its_key_nor_what_was_tried(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    store_model(tmp_path, "tiny")
    wrong = "planted-guess-0123456789"
    with client(tmp_path, Access(hashlib.sha256(SECRET.encode()).digest())) as connected:
        answers = [
            upload(connected, portrait_video(frames=2), headers={"Authorization": f"Bearer {wrong}"}),
            connected.get(f"/v1/models?key={wrong}"),
            connected.get("/openapi.json"),
            connected.get("/", headers={"Authorization": f"Bearer {SECRET}"}),
        ]
        with live(connected) as session:
            session.send_json({"key": wrong})
            told = json.dumps(session.receive_json())
    texts = [*(answer.text + str(answer.headers) for answer in answers), told, caplog.text]
    for text in texts:
        assert SECRET not in text
    ours = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    for text in (told, ours, *(answer.text + str(answer.headers) for answer in answers)):
        assert wrong not in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_key_that_is_too_short_is_not_told(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "planted")
    with pytest.raises(EmotionRayError, match="characters") as caught:
        access_of(ServeSettings(host="0.0.0.0"))
    assert "planted" not in str(caught.value)
