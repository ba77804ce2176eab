"""The command line as one meets it: help that teaches, plain text in a pipe, and no complaint when the pipe ends."""

import functools
import inspect
import os
import re
import shlex
import subprocess
import sys

import pytest

from emotion_ray import cli

COMMANDS = sorted(
    name for name, one in vars(cli).items() if inspect.isfunction(one) and one.__module__.startswith("emotion_ray.cli.")
)
COMMAND = [sys.executable, "-m", "emotion_ray.cli"]


def test_there_are_commands():
    assert {"prepare", "train", "tune", "evaluate", "demo", "doctor", "export"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_examples_that_are_right(name, monkeypatch, capsys):
    examples = re.findall(r"`emotion-ray ([^`]+)`", getattr(cli, name).__doc__)
    assert examples, "help must show how it is done"
    called = []

    def stand_in_for(command):
        @functools.wraps(command)
        def stand_in(*given, **named):
            called.append(command.__name__)

        return stand_in

    for one in COMMANDS:
        monkeypatch.setattr(cli, one, stand_in_for(getattr(cli, one)))
    for example in examples:
        assert cli.main(shlex.split(" ".join(example.split()))) == 0, capsys.readouterr().err
    assert set(called) == {name}
    with pytest.raises(SystemExit) as exit:
        cli.main([name, "--help"])
    assert exit.value.code == 0
    assert "emotion-ray" in capsys.readouterr().out


def test_every_command_that_prints_results_gives_them_as_json():
    assert [name for name in COMMANDS if "json" not in inspect.signature(getattr(cli, name)).parameters] == ["serve"]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["prepare", "--help"], ["doctor"], ["prepare", "--no-such-flag"]])
def test_a_pipe_gets_plain_text(arguments, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    environment |= {"EMOTION_RAY_HOME": str(tmp_path), "TERM": "xterm-256color"}
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=50)
    assert done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["prepare", "--help"], ["doctor", "--json"], ["doctor"]])
def test_a_reader_that_goes_away_is_no_error_to_tell(arguments, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments, *(["--root", str(tmp_path)] if "--help" not in arguments else [])],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode in (1, 141)  # rich's consoles end with 1
