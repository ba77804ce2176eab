import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from stand_in import stand_in

from emotion_ray.cli import main
from emotion_ray.settings import ReproduceSettings
from emotion_ray.walkthrough.stages import Made

MADE = [Made("report", "/r/runs/x/report.html", "opens in any browser"), Made("clips", "/r/clips", "Parquet")]


@pytest.fixture
def asked(monkeypatch):
    """Stand-ins in the place of the jobs; what they were asked for."""
    calls = []
    figures = {"model": "lstm", "protocol": "random", "choice": "last", "labels": "true"}
    summary = SimpleNamespace(**figures, uar=SimpleNamespace(value=0.5), war=SimpleNamespace(value=0.6))
    done = SimpleNamespace(
        data=SimpleNamespace(label="RAVDESS"),
        as_the_baseline=True,
        published={"lstm": "80%"},
        summaries=[summary],
        made=MADE,
        table=lambda: "the table",
        in_words=lambda: "and in words",
    )
    stand_in(monkeypatch, calls, "walkthrough", "demo", MADE)
    stand_in(monkeypatch, calls, "walkthrough", "reproduce", done)
    return calls


def test_the_demo_ends_with_a_line_for_each_thing_and_the_command_for_the_real_data(asked, capsys, monkeypatch):
    monkeypatch.setenv("EMOTION_RAY_HOME", "/home")
    monkeypatch.setenv("COLUMNS", "30")
    assert main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert asked == [Path("/home/demo")]
    assert lines[-4:] == [
        "what is there now",
        "  report  /r/runs/x/report.html  (opens in any browser)",
        "  clips   /r/clips  (Parquet)",
        "the same with the real data: emotion-ray reproduce --actors 1-10",
    ]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], ReproduceSettings()),
        (["--actors", "1-10", "--yes", "--no-cost"], ReproduceSettings(actors="1-10", yes=True, cost=False)),
        (["--base_url", "http://m", "--trials", "4"], ReproduceSettings(base_url="http://m", trials=4)),
    ],
)
def test_flags_become_settings(asked, capsys, arguments, settings):
    assert main(["reproduce", *arguments]) == 0
    assert asked == [settings]
    assert "the table\nand in words\n" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["demo", "reproduce"])
def test_json_alone_goes_to_stdout(asked, capsys, command):
    assert main([command, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["made"] == {"report": "/r/runs/x/report.html", "clips": "/r/clips"}
    assert "progress" in err and "talk" in err
    if command == "reproduce":
        assert result["published"] == {"lstm": "80%"}
        assert result["results"][0] | {"uar": 0.5, "war": 0.6} == result["results"][0]
