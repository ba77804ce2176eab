#!/usr/bin/env python
"""Runs the commands of README.md's code blocks, on the synthetic sample and with less of everything.

    python benchmarks/readme_commands.py

Each goes in a folder of its own kind: EMOTION_RAY_HOME is new, the sample's archives are served as Zenodo serves
RAVDESS's, jobs go to a Ray head of this script's. What differs from README's words is printed. A command that is not
in the table of readme_table.py fails, and so does one of the table that README has no more.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from asked import line
from free_ports import free_ports
from readme_table import RUNS, As, is_python, readme_commands

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import ray_head  # noqa: E402

from emotion_ray.data.ravdess import EMOTIONS, archive_name  # noqa: E402
from emotion_ray.errors import EmotionRayError  # noqa: E402
from emotion_ray.real_clips import real_clips, write_crema_d_manifest  # noqa: E402
from emotion_ray.sample import build_sample, planned_takes  # noqa: E402
from emotion_ray.sample.mirror import mirror  # noqa: E402

LIMIT_S = 240.0  # of one command
TAKE = "01/sample_01.mp4"


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # else what it has started would be left behind
    commands = readme_commands((ROOT / "README.md").read_text("utf-8"))
    met = [_is_known(command) for command in commands]
    gone = sorted(set(RUNS) - set(commands))
    line(
        not gone, "the table of benchmarks/readme_table.py", "only commands of README", "; ".join(gone) or "only those"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = {name: str(folder / name) for name in ("home", "work")}
        _lay_out(folder, stack, names)
        head = None
        for command in commands:
            here = RUNS.get(command)
            if is_python(command):
                here = As(f"python {_written(command, folder / 'work')}")
            if not isinstance(here, As):
                if here:
                    print(f"not run: {command}: {here}", flush=True)
                continue
            if here.command.startswith("ray ") and head is None:
                head = stack.enter_context(ray_head.running(folder / "home", cpus=2))
            met.append(_runs(command, here, names, head, stack))
    return 0 if all(met) and not gone else 1


def _is_known(command: str) -> bool:
    known = command in RUNS or is_python(command)
    if not known:
        line(False, command, "an entry in the table of benchmarks/readme_table.py", "none")
    return known


def _lay_out(folder: Path, stack: ExitStack, names: dict[str, str]) -> None:
    """Makes what the commands name: archives behind an address, takes, videos and a manifest of them."""
    work = folder / "work"
    for one in (folder / "home", work / "videos"):
        one.mkdir(parents=True)
    (work / "jobs").symlink_to(ROOT / "jobs")
    sample = build_sample(folder / "sample", "demo")
    names["mirror"] = stack.enter_context(mirror(sample.folder))
    names["port"] = str(free_ports(1)[0])
    rows = ["path,label,actor,clip_id"]
    for take in planned_takes("demo")[::16]:
        with zipfile.ZipFile(sample.folder / archive_name(take.actor)) as members:
            (work / "videos" / f"{take.clip_id}.mp4").write_bytes(members.read(take.member))
        rows.append(f"videos/{take.clip_id}.mp4,{EMOTIONS[take.emotion]},{take.actor},other-{take.clip_id}")
    try:
        take = real_clips()[TAKE]
        write_crema_d_manifest(work / "takes.csv")
    except EmotionRayError as error:
        print(f"{error}; take.mp4 and takes.csv are of the synthetic sample")
        take = next((work / "videos").iterdir())
        (work / "takes.csv").write_text("\n".join(rows) + "\n")
    shutil.copy(take, work / "take.mp4")


def _written(block: str, work: Path) -> str:
    (work / "block.py").write_text(block)
    return "block.py"


def _runs(command: str, here: As, names: dict[str, str], head: ray_head.Head | None, stack: ExitStack) -> bool:
    """Runs one command and prints its line."""
    told = command.splitlines()[0] + (" ... (Python)" if is_python(command) else "")
    if here.command != command and not is_python(command):
        print(f"README says {command}; run as {here.command}", flush=True)
    submitted = here.command.startswith("ray ")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = head.environment if submitted else bare | {"RAY_USAGE_STATS_ENABLED": "0"}
    environment = environment | {"EMOTION_RAY_HOME": names["home"]}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = here.command.format_map(names).split()
    where = {"cwd": ROOT if submitted else names["work"], "env": environment}
    began = time.monotonic()
    if here.stays:
        problem = stack.enter_context(_service(words, where, f"http://127.0.0.1:{names['port']}/readyz"))
    else:
        problem = _problem(words, where)
    made = Path(here.makes.format_map(names)) if here.makes else None
    if not problem and made and not made.exists():
        problem = f"no {made.name}"
    line(not problem, told, "it runs", problem or f"it did, in {time.monotonic() - began:.0f} s")
    return not problem


def _problem(words: list[str], where: dict) -> str:
    """Runs a command to its end; what went wrong, if anything did."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False, **where)
    except subprocess.TimeoutExpired:
        return f"not at its end after {LIMIT_S:.0f} s"
    said = (done.stderr + done.stdout).strip().splitlines() or ["nothing"]
    return f"exit code {done.returncode}: {said[-1]:.300}" if done.returncode else ""


@contextmanager
def _service(words: list[str], where: dict, address: str) -> Iterator[str]:
    """Runs a service while the block runs, and gives what went wrong before it answered, if anything did."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **where)
    deadline, problem = time.monotonic() + LIMIT_S, "no answer"
    try:
        while problem and process.poll() is None and time.monotonic() < deadline:
            try:
                problem = "" if urlopen(address, timeout=5).status == 200 else problem
            except (URLError, OSError):
                time.sleep(0.5)
        yield problem
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
