#!/usr/bin/env python
"""Kills the job of preparing with SIGKILL at random moments, starts it again, and compares what comes of it.

    python benchmarks/chaos_prepare.py --json chaos_prepare.json

The archives are those of the synthetic sample, from a mirror on this machine. Each trial has folders of its own
and is killed once, at a moment drawn from its share of an undisturbed run's time, the start included; then the
same command runs to its end. Asked is each clip exactly once, and every column of it as in the undisturbed run.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import tyro
from asked import line
from memory import tree

from emotion_ray.data.clips import shard_names
from emotion_ray.data.storage import Folder
from emotion_ray.sample import SIZES, build_sample
from emotion_ray.sample.mirror import mirror

GONE_AFTER_S = 90.0  # Ray's agents look for their daemon for a minute before they follow it
START = "import sys; from emotion_ray.cli import main; sys.exit(main(['prepare', *sys.argv[1:]]))"


@dataclass(frozen=True)
class Arguments:
    """How often to kill and where to write the figures."""

    kills: int = 5
    """Trials, each killed once."""
    seed: int = 0
    """Of the moments."""
    json: Path | None = None
    """File for the figures."""


def start(folder: Path, address: str, archives: int) -> subprocess.Popen:
    """The command in a process of its own, with a Ray of its own."""
    flags = ["--base-url", address, "--actors", f"1-{archives}", "--root", str(folder)]
    return subprocess.Popen([sys.executable, "-c", START, *flags], stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen) -> None:
    if process.wait():
        raise SystemExit(f"the job ended with exit code {process.returncode}")


def rows(folder: Path) -> list[dict]:
    """All clips in a folder, every column, sorted by clip_id; one that is there twice is there twice."""
    clips = Folder.at(folder / "clips")
    found = [row for name in shard_names(clips) for row in pq.read_table(clips.file(name)).to_pylist()]
    return sorted(found, key=lambda row: row["clip_id"])


def wait_until_gone(pids: list[int]) -> list[str]:
    """Names of those processes that outlive their time."""
    deadline = time.monotonic() + GONE_AFTER_S
    while (left := _alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def _alive(pids: list[int]) -> list[str]:
    names = []
    for pid in pids:
        try:
            name, _, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
        except OSError:
            continue
        if not state.startswith("Z"):
            names.append(name)
    return names


def trial(folder: Path, address: str, archives: int, kill_after_s: float, whole: list[dict]) -> dict:
    """Kills one run and lets the next one finish; gives what was seen."""
    process = start(folder, address, archives)
    time.sleep(kill_after_s)
    processes = tree(process.pid)
    process.kill()
    killed = process.wait() < 0
    held = len(rows(folder))
    finish(start(folder, address, archives))
    got = rows(folder)
    return {
        "killed": killed,
        "after_s": round(kill_after_s, 1),
        "clips_when_killed": held,
        "clips": len(got),
        "clips_once": len({row["clip_id"] for row in got}) == len(got),
        "equal": got == whole,
        "processes_left": wait_until_gone(processes),
    }


def main(arguments: Arguments) -> int:
    rng = random.Random(arguments.seed)
    met = True
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        sample = build_sample(root / "sample", SIZES[0])
        archives = len(sample.files)
        with mirror(sample.folder) as address:
            began = time.monotonic()
            finish(start(root / "whole", address, archives))
            seconds = time.monotonic() - began
            whole = rows(root / "whole")
            trials = []
            for number in range(arguments.kills):
                moment = (number + rng.random()) / arguments.kills * seconds
                trials.append(trial(root / f"trial-{number}", address, archives, moment, whole))
                met &= _report(trials[-1], len(whole))
    if arguments.json:
        figures = {"seed": arguments.seed, "undisturbed_s": round(seconds, 1), "clips": len(whole), "trials": trials}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if met else 1


def _report(seen: dict, clips: int) -> bool:
    at = f"killed after {seen['after_s']} s with {seen['clips_when_killed']} clips written"
    exact = seen["killed"] and seen["clips"] == clips and seen["clips_once"] and seen["equal"]
    faults = [
        what
        for what, wrong in (
            ("it had ended before", not seen["killed"]),
            ("some more than once", not seen["clips_once"]),
            ("some different", not seen["equal"]),
        )
        if wrong
    ]
    got = ", ".join([f"{seen['clips']} clips", *(faults or ["each once, all equal"])])
    line(exact, f"prepare, {at}, started again", f"{clips} clips, each once, equal to an undisturbed run's", got)
    left = seen["processes_left"]
    line(not left, f"prepare, {at}", f"no process left after {GONE_AFTER_S:.0f} s", ", ".join(left) or "none")
    return exact and not left


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
