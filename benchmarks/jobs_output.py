#!/usr/bin/env python
"""What the five jobs say: each run on the demo-sized synthetic sample, short, and its output kept as a page.

    python benchmarks/jobs_output.py

README.md shows lines of it. Trainings as short as these stay near chance.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import tyro
from machine import facts, made_by

from emotion_ray.data.ravdess import archive_name
from emotion_ray.sample import build_sample, planned_takes

ROOT = Path(__file__).parents[1]
JOBS = (
    "jobs/prepare.py --source sample/",
    "jobs/train.py --model lstm --epochs 4 --run first",
    "jobs/tune.py --model attention --trials 2 --epochs 2 --run search",
    "jobs/evaluate.py --model lstm --epochs 4 --protocol actor --run report",
    "jobs/online_inference.py --video take.mp4 --model_type lstm --model_path models/first/model.pth",
)


@dataclass
class Options:
    """Runs the five jobs and keeps what they say."""

    page: Path = ROOT / "results" / "sample" / "jobs.md"
    """File for the page."""


def main(options: Options) -> int:
    parts = [
        "# What the five jobs say",
        f"{made_by('jobs_output.py', facts())} All of it is of the synthetic sample (demo), and so short that it stays "
        "near chance; `.` is the folder that everything was made in.",
    ]
    with tempfile.TemporaryDirectory() as home:
        take = planned_takes("demo")[0]
        sample = build_sample(Path(home) / "sample", "demo")
        with zipfile.ZipFile(sample.folder / archive_name(take.actor)) as archive:
            (Path(home) / "take.mp4").write_bytes(archive.read(take.member))
        for job in JOBS:
            print(job, flush=True)
            script, *flags = job.split()
            done = subprocess.run(
                [sys.executable, ROOT / script, *flags],
                cwd=home,
                env=os.environ | {"EMOTION_RAY_HOME": home},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            print(done.stdout, flush=True)
            if done.returncode:
                return 1
            said = "\n".join(text.rstrip() for text in done.stdout.replace(home, ".").splitlines())
            parts.append(f"## {script.partition('/')[2].removesuffix('.py')}")
            parts.append(f"```text\n$ python {job}\n{said}\n```")
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text("\n\n".join(parts) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
