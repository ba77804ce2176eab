import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
from stand_in import stand_in

from emotion_ray.cli import main
from emotion_ray.learning.predictions import PREDICTIONS, DataFacts, Evaluation
from emotion_ray.settings import AugmentSettings, EvaluateSettings, LSTMSettings, TrainRunSettings, TuneSettings


def run(*arguments):
    """Exit code, stdout and stderr of one command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as exit:
            code = exit.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def asked(monkeypatch):
    """Stand-ins in the place of the jobs; what they were asked for."""
    calls = []
    stand_in(monkeypatch, calls, "distributed", "train", [])
    stand_in(monkeypatch, calls, "distributed", "tune", [])
    nothing = Evaluation(DataFacts("demo", True, 0, 0, 60, 64, ()), PREDICTIONS.empty_table(), [])
    stand_in(monkeypatch, calls, "distributed", "evaluate", ("report.html", nothing))
    return calls


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["train"], TrainRunSettings()),
        (
            ["train", "--model", "both", "--workers", 2, "--lr", 0.01, "--lstm.hidden-size", 64, "--augment.shift", 2],
            TrainRunSettings(
                model="both", workers=2, lr=0.01, lstm=LSTMSettings(hidden_size=64), augment=AugmentSettings(shift=2)
            ),
        ),
        (
            ["tune", "--model", "attention", "--workers_per_trial", 2, "--search", "random", "--time-budget", 60],
            TuneSettings(model="attention", workers_per_trial=2, search="random", time_budget=60.0),
        ),
        (["tune", "--resume", "--run", "mine"], TuneSettings(resume=True, run="mine")),
        (["evaluate", "--seeds", 3, "--tuned", "a", "b"], EvaluateSettings(seeds=3, tuned=("a", "b"))),
        (["evaluate", "--stored", "a", "b"], EvaluateSettings(model="none", stored=("a", "b"))),
    ],
)
def test_flags_become_settings(asked, arguments, settings):
    assert run(*arguments)[0] == 0
    assert asked == [settings]


@pytest.mark.parametrize("command", ["train", "tune", "evaluate"])
def test_json_alone_goes_to_stdout(asked, command):
    code, out, err = run(command, "--json")
    assert code == 0
    assert json.loads(out)
    assert "progress" in err and "talk" in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "--model", "cnn"], 2, "cnn"),
        (["tune", "--search", "best"], 2, "best"),
        (["train", "--lr", "-1"], 1, "lr is -1.0: give a number from 1e-12 to 10"),
        (["tune", "--trials", "0"], 1, "trials is 0: give a whole number from 1 to 100000"),
        (["evaluate", "--seeds", "0"], 1, "seeds is 0"),
    ],
)
def test_wrong_flags_are_refused(asked, arguments, code, says):
    found, out, err = run(*arguments)
    assert (found, out, asked) == (code, "", [])
    assert says in err
    assert "Traceback" not in err


def test_who_stops_a_sweep_is_told_how_to_go_on(asked, monkeypatch):
    def stopped(settings, console):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["emotion_ray.distributed.tune"], "tune", stopped)
    assert run("tune") == (130, "", "emotion-ray: stopped; go on with emotion-ray tune --resume\n")
    assert run("tune", "--run", "a", "--root", "b c")[2].endswith("tune --resume --run a --root 'b c'\n")
