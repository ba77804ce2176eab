#!/usr/bin/env python
"""Disturbs jobs on a cluster of three nodes, and looks at what they come to all the same.

    python benchmarks/chaos_cluster.py --rounds 1 --only prepare-node tune-worker

In the midst of preparing, training and tuning a node is removed, a worker or the driver killed; preparing also goes
on beside object stores that are nearly full, and with a node that stands still for nine tenths of the time. Asked is
exactly the clips of an undisturbed run, or a model of all its epochs, or a leaderboard of all its trials, each once;
that no epoch which had ended is run again; and that nothing stays reserved.
A job may end with one line of error; then it is started again, and must go on. Each start has a time limit.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import tyro
from asked import line
from chaos_prepare import rows
from small_cluster import SmallCluster, private_ray, wait_until
from tiny_video import FRAMES, tiny_video

from emotion_ray.data.ravdess import Code
from emotion_ray.learning.history import read_history
from emotion_ray.models.store import load_stored

TAKES, EPOCHS, TRIALS = 64, 12, 4
FILLED = 0.9  # of each object store that is nearly full
LIMIT_S = 240.0  # of one start of a job; beside a node of a tenth of the speed one takes half of that
SMALL = ("--batch", "8", "--lstm.hidden-size", "16")


@dataclass(frozen=True)
class Job:
    """A command that is disturbed.

    Attributes:
        flags: of its first start.
        again: of another start, to go on.
        workers: with what the titles of its workers' processes begin, after `ray::`.
        asked: what it must come to.
        midway: whether a folder shows that the job is under way.
        faults: what is wrong with what it came to in a folder.
        histories: the epochs of its trainings so far, of which none may be lost, by the training's name.
    """

    command: str
    flags: tuple[str, ...]
    again: tuple[str, ...]
    workers: str
    asked: str
    midway: Callable[[Path], bool]
    faults: Callable[[Path], list[str]]
    histories: Callable[[Path], dict[str, list[dict]]] = lambda root: {}

    @contextmanager
    def started(self, cluster: SmallCluster, root: Path, flags: tuple[str, ...]) -> Iterator[subprocess.Popen]:
        """Starts it on the cluster; what it says goes to files beside the root."""
        command = [sys.executable, "-m", "emotion_ray.cli", self.command, "--root", str(root), *flags]
        said, errors = root.with_suffix(".out"), root.with_suffix(".err")
        with said.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=cluster.environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def jobs(source: Path, whole: Path) -> dict[str, Job]:
    """The three jobs, whose clips are those of an undisturbed run in `whole` if that has been."""
    undisturbed = rows(whole)
    prepare = ("--source", str(source), "--frames", str(FRAMES), "--size", "32", "--detector", "exact")
    learn = ("--clips", f"{whole}/clips", "--run", "run", "--cpus-per-worker", "1", "--epochs", str(EPOCHS))
    resume = ("--resume", "--run", "run")
    return {
        "prepare": Job(
            "prepare",
            prepare,
            prepare,
            "MapBatches(CropStage",
            f"{TAKES} clips, each once, equal to an undisturbed run's",
            lambda root: bool(rows(root)),
            lambda root: _wrong_clips(rows(root), undisturbed),
        ),
        "train": Job(
            "train",
            (*learn, "--workers", "2", *SMALL),
            resume,
            "RayTrainWorker",
            f"a model of {EPOCHS} epochs, each once",
            lambda root: len(read_history(root / "runs" / "run" / "lstm")) >= 2,
            _wrong_model,
            lambda root: {"the model": read_history(root / "runs" / "run" / "lstm")},
        ),
        "tune": Job(
            "tune",
            (*learn, "--trials", str(TRIALS), "--scheduler", "none"),
            resume,
            "ImplicitFunc",
            f"{TRIALS} trials of {EPOCHS} epochs, each once, and a model",
            lambda root: any(len(history) >= 2 for history in _trials(root).values()),
            _wrong_sweep,
            _trials,
        ),
    }


def _wrong_clips(got: list[dict], undisturbed: list[dict]) -> list[str]:
    ids = [row["clip_id"] for row in got]
    faults = [] if len(set(ids)) == len(ids) else ["some more than once"]
    if len(got) != TAKES:
        faults.append(f"{len(got)} clips")
    elif undisturbed and got != undisturbed:
        faults.append("some different")
    return faults


def _wrong_model(root: Path) -> list[str]:
    faults = _wrong_history(read_history(root / "runs" / "run" / "lstm"))
    stored = load_stored(root / "models", "run")
    return faults if stored.record.architecture == "lstm" else [*faults, "another model"]


def _wrong_sweep(root: Path) -> list[str]:
    board = json.loads((root / "runs" / "run" / "lstm" / "leaderboard.json").read_text())["trials"]
    ids = [row["trial"] for row in board]
    faults = [] if len(ids) == len(set(ids)) == TRIALS else [f"{len(ids)} trials, {len(set(ids))} different"]
    faults += [f"a trial {row['status']}" for row in board if row["status"] != "all epochs"]
    if sum(row["baseline"] for row in board) != 1:
        faults.append("not one baseline")
    for history in (history for trial, history in _trials(root).items() if trial in ids):
        faults += _wrong_history(history)
    load_stored(root / "models", "run")
    return faults


def _wrong_history(history: list[dict]) -> list[str]:
    epochs = [record["epoch"] for record in history]
    return [] if epochs == list(range(1, EPOCHS + 1)) else [f"epochs {epochs}"]


def _trials(root: Path) -> dict[str, list[dict]]:
    return {folder.name: read_history(folder) for folder in (root / "runs" / "run" / "lstm" / "trials").glob("*")}


def remove_node(cluster: SmallCluster, job: Job, process: subprocess.Popen) -> bool:
    busy = wait_until(lambda: cluster.busy(job.workers), 10)
    if busy:
        cluster.remove(next(iter(busy)))
    return bool(busy)


def kill_worker(cluster: SmallCluster, job: Job, process: subprocess.Popen) -> bool:
    busy = wait_until(lambda: cluster.busy(job.workers), 10)
    return bool(busy) and cluster.kill(next(iter(busy.values()))[0])


def kill_driver(cluster: SmallCluster, job: Job, process: subprocess.Popen) -> bool:
    process.kill()
    return True


DISTURBANCES = {
    "node": ("a node removed", remove_node),
    "worker": ("a worker killed", kill_worker),
    "driver": ("the driver killed", kill_driver),
}
CONDITIONS = {
    "full": (f"object stores {FILLED:.0%} full", lambda cluster: cluster.stores_filled(FILLED)),
    "slow": ("a node of a tenth of the speed", SmallCluster.one_slow),
}
CASES = (
    *(f"prepare-{how}" for how in (*DISTURBANCES, *CONDITIONS)),
    *(f"{job}-{how}" for job in ("train", "tune") for how in DISTURBANCES),
)


def disturbed(cluster: SmallCluster, job: Job, how: str, root: Path) -> list[str]:
    """Runs a job, disturbs it, and starts it again if it did not come through; gives what is wrong in the end."""
    _, disturb = DISTURBANCES.get(how, ("", None))
    _, condition = CONDITIONS.get(how, ("", lambda cluster: nullcontext()))
    before: dict[str, list[dict]] = {}
    cluster.heal()
    with condition(cluster), job.started(cluster, root, job.flags) as process:
        if disturb:
            if not wait_until(lambda: process.poll() is not None or job.midway(root), LIMIT_S):
                return [f"nothing was done after {LIMIT_S:.0f} s"]
            if process.poll() is not None:
                return [f"it had ended with {process.returncode} before"]
            before = job.histories(root)
            if not disturb(cluster, job, process):
                return ["there was no worker"]
        if (fault := _ended(process)) is not None:
            return [fault]
    if process.returncode == 0:
        return job.faults(root) + _lost(before, job.histories(root))
    if how != "driver" and (fault := _no_clear_error(root)) is not None:
        return [fault]
    cluster.heal()
    with job.started(cluster, root, job.again) as process:
        if (fault := _ended(process)) is not None:
            return [fault]
    if process.returncode:
        return [f"the second start ended with {process.returncode}: {_no_clear_error(root) or 'one line'}"]
    return job.faults(root) + _lost(before, job.histories(root))


def _lost(before: dict[str, list[dict]], after: dict[str, list[dict]]) -> list[str]:
    """Trainings whose epochs were run again: their seconds would be others then."""
    return [f"epochs of {name} lost" for name, epochs in before.items() if after.get(name, [])[: len(epochs)] != epochs]


def _ended(process: subprocess.Popen) -> str | None:
    try:
        process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"no end after {LIMIT_S:.0f} s"
    return None


def _no_clear_error(root: Path) -> str | None:
    errors = root.with_suffix(".err").read_text()
    told = [text for text in errors.splitlines() if text.startswith("emotion-ray: ")]
    if len(told) == 1 and "Traceback" not in errors:
        return None
    return f"no clear line of error but {errors[-300:]!r}"


def make_takes(folder: Path, count: int = TAKES) -> None:
    """Videos with RAVDESS's names, 16 of an actor; of the first 64 all are different."""
    folder.mkdir()
    for number in range(count):
        code = Code(1, 1, number % 8, 1, 1, number // 8 % 2 + 1, number // 16 + 1)
        (folder / f"{code.clip_id}.mp4").write_bytes(tiny_video(scale=4, darker=number % 64))


def main(rounds: int = 3, only: tuple[str, ...] = ()) -> int:
    """Runs every case so often.

    Args:
        rounds: how often.
        only: cases, such as prepare-node; all by default.
    """
    if unknown := sorted({*only} - {*CASES}):
        raise SystemExit(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    met = True
    with private_ray(), tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        make_takes(folder / "takes")
        cluster = SmallCluster()
        try:
            undisturbed = jobs(folder / "takes", folder / "whole")["prepare"]
            met = case(cluster, undisturbed, "", folder / "whole", "undisturbed")
            those = jobs(folder / "takes", folder / "whole")
            for number in range(rounds):
                for name in only or CASES:
                    command, how = name.split("-")
                    what, _ = (DISTURBANCES | CONDITIONS)[how]
                    met &= case(cluster, those[command], how, folder / f"{name}-{number}", what)
        finally:
            cluster.close()
    return 0 if met else 1


def case(cluster: SmallCluster, job: Job, how: str, root: Path, what: str) -> bool:
    """Runs one case, says in a line what came of it, and gives whether all is right."""
    began = time.monotonic()
    faults = disturbed(cluster, job, how, root)
    if held := cluster.held_cpus():
        faults.append(f"{held:g} CPU held by nobody")
    line(
        not faults,
        f"{job.command}, {what}",
        job.asked,
        f"{', '.join(faults) or 'that'}, in {time.monotonic() - began:.0f} s",
    )
    return not faults


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
