"""Sweeps as commands: one whose driver is killed and that goes on, and one with trials of several workers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from replay import drawn
from small_clips import write_small_clips

from emotion_ray.learning.history import read_history

pytestmark = pytest.mark.ray

EPOCHS, TRIALS = 16, 4
SWEEP = ["--trials", str(TRIALS), "--epochs", str(EPOCHS), "--scheduler", "none", "--run", "killed"]


@pytest.mark.timeout(180)
def test_a_killed_sweep_goes_on(tmp_path):
    write_small_clips(tmp_path / "clips", count=384)
    trials = tmp_path / "runs" / "killed" / "lstm" / "trials"
    with _command(tmp_path, "tune", "--root", tmp_path, *SWEEP) as sweep:
        _wait(sweep, lambda: any(len(found) == EPOCHS for found in _histories(trials).values()))
        _wait(sweep, lambda: any(2 < len(found) < EPOCHS - 3 for found in _histories(trials).values()))
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
    _wait(None, lambda: not _alive(trials))
    before = _histories(trials)
    done = [trial for trial, found in before.items() if len(found) == EPOCHS]
    under_way = [trial for trial, found in before.items() if 2 < len(found) < EPOCHS]
    assert done and under_way

    with _command(tmp_path, "tune", "--root", tmp_path, "--resume", "--json") as resumed:
        out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    rows = json.loads(out)["sweeps"][0]["trials"]
    assert len(rows) == len({row["trial"] for row in rows}) == TRIALS
    assert [row["status"] for row in rows] == ["all epochs"] * TRIALS
    assert len({json.dumps(row["config"]) for row in rows}) == TRIALS
    assert sum(row["baseline"] for row in rows) == 1
    after = _histories(trials)
    ids = {row["trial"] for row in rows}
    assert set(done) <= ids
    for trial in done:
        assert after[trial] == before[trial]
    for trial in set(under_way) & ids:
        assert after[trial][: len(before[trial])] == before[trial]
        assert len(after[trial]) == EPOCHS
    assert set(under_way) & ids


def _command(folder: Path, *arguments: object) -> subprocess.Popen:
    settings = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    settings.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "emotion_ray.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=settings,
        cwd=folder,
    )


def _histories(trials: Path) -> dict[str, list]:
    return {folder.name: read_history(folder) for folder in trials.glob("*")}


def _alive(trials: Path) -> bool:
    """Whether someone still writes: the workers of a killed driver live on for a moment."""
    before = _histories(trials)
    time.sleep(1.5)
    return _histories(trials) != before


def _wait(process: subprocess.Popen | None, happened) -> None:
    until = time.monotonic() + 90
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


@pytest.mark.timeout(300)
def test_trials_of_several_workers_are_stopped_epoch_by_epoch_and_give_their_cpus_back(tmp_path):
    """The second trial of this seed learns too slowly; the third can begin only where the second let its CPUs go."""
    write_small_clips(tmp_path / "clips", count=96, learnable=True)
    flags = ["--workers-per-trial", "2", "--trials", "3", "--epochs", "4", "--grace", "2", "--search", "random"]
    with _command(tmp_path, "tune", "--root", tmp_path, *flags, "--seed", "7", "--run", "several", "--json") as sweep:
        out, err = sweep.communicate(timeout=280)
    assert sweep.returncode == 0, err
    by_config = {row["config"]["lr"]: row for row in json.loads(out)["sweeps"][0]["trials"]}
    assert [row["reason"] for row in by_config.values()] == [""] * 3
    plain, slow, _ = (by_config[config["lr"]] for config in drawn("lstm", 3, seed=7))
    assert (plain["baseline"], plain["status"], plain["epochs"]) == (True, "all epochs", 4)
    assert slow["status"] == "stopped early"
    assert slow["epochs"] in (2, 3)  # its workers may be an epoch ahead of the decision
