#!/usr/bin/env python
"""All the long proofs, one after the other: a line for each thing asked, with what was got.

python benchmarks/prove.py                     everything, at most 90 minutes on 2 cores
python benchmarks/prove.py --only bench        the benchmarks, and their pages in results/benchmarks/
python benchmarks/prove.py --only trainings    what takes hours of training, and its pages

What takes hours is not done again each time, nor what needs a GPU where there is none: the lines of its last run are
shown, with their commit.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from asked import MISS, OK, line

from emotion_ray.sample.render import VERSION

HERE = Path(__file__).parent
PAGES = HERE.parent / "results" / "benchmarks"
QUICK_S = 60.0
ALL_MIN = 90
Kind = Literal["bench", "proof", "trainings"]


@dataclass(frozen=True)
class Proof:
    """A script of this folder, its flags, and the name of the page and the JSON it writes, if it writes any."""

    kind: Kind
    script: str
    flags: tuple[str, ...] = ()
    results: str | None = None

    @property
    def title(self) -> str:
        return " ".join((self.script, *self.flags))

    @property
    def figures(self) -> Path:
        return PAGES / f"{self.results}.json"

    @property
    def command(self) -> list[str]:
        pages = ("--page", str(self.figures.with_suffix(".md")), "--json", str(self.figures)) if self.results else ()
        return [sys.executable, str(HERE / self.script), *self.flags, *pages]

    def runs(self, only: Kind | None) -> bool:
        """Whether it is run here and now; its last run is recalled otherwise."""
        takes_hours, needs_gpu = self.kind == "trainings", "cuda" in self.flags
        return not (takes_hours and only is None) and not (needs_gpu and not torch.cuda.is_available())


PROOFS = (
    Proof("proof", "chaos_cluster.py"),
    Proof("proof", "chaos_prepare.py"),
    Proof("proof", "readme_commands.py"),
    Proof("proof", "demo.py"),
    Proof("bench", "prepare.py", results="prepare"),
    Proof("bench", "scale.py", ("--graph",), results="scale"),  # takes its rate from the one before
    Proof("bench", "learn.py", results="learn"),
    Proof("bench", "inference.py", results="inference"),
    Proof("proof", "accuracy.py"),
    Proof("proof", "fuzz_service.py"),
    Proof("trainings", "sample_difficulty.py", results="sample"),
    Proof("trainings", "sample_difficulty.py", ("--device", "cuda"), results="sample_gpu"),
    Proof("trainings", "early_stopping.py", ("--mixed-precision",), results="early_stopping"),
)


def main(only: Kind | None = None) -> int:
    """Runs the proofs and counts their lines.

    Args:
        only: one kind alone.
    """
    began = time.monotonic()
    PAGES.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    if only in (None, "proof"):
        lines.append(_quick_tests())
    for proof in PROOFS:
        if only in (None, proof.kind):
            lines += _run(proof) if proof.runs(only) else _recalled(proof)
    minutes = (time.monotonic() - began) / 60
    if only is None:
        lines.append(line(minutes < ALL_MIN, "make prove", f"under {ALL_MIN} minutes", f"{minutes:.0f}"))
    missed = [text for text in lines if text.startswith(MISS)]
    print(f"\n{len(lines)} asked, {len(lines) - len(missed)} met, in {minutes:.0f} minutes")
    for text in missed:
        print(text)
    return 1 if missed else 0


def _quick_tests() -> str:
    """Runs the tests of `make quick`, and times them."""
    began = time.monotonic()
    code = subprocess.run(["make", "quick"], cwd=HERE.parent, check=False).returncode
    seconds = time.monotonic() - began
    met = code == 0 and seconds < QUICK_S
    got = f"{seconds:.0f} s" + (f" and exit code {code}" if code else "")
    line(met, "make quick", f"under {QUICK_S:.0f} s", got)
    return OK if met else f"{MISS} make quick: {got}"


def _recalled(proof: Proof) -> list[str]:
    """The lines of a script's last run, as long as it was of the sample as it is now."""
    print(f"\n--- {proof.title}, as it last ended", flush=True)
    figures = json.loads(proof.figures.read_text()) if proof.figures.exists() else {}
    if figures.get("sample") != VERSION:
        lines = [f"{MISS} {proof.script}: not run on version {VERSION} of the sample (--only trainings)"]
    else:
        lines = [f"{text} (commit {figures['commit']}, {figures['date'][:10]})" for text in figures["lines"]]
    print("\n".join(lines))
    return lines


def _run(proof: Proof) -> list[str]:
    """Runs one script, shows what it prints, and gives its lines; a script that breaks off is a line missed."""
    print(f"\n--- {proof.title}", flush=True)
    lines = []
    with subprocess.Popen(proof.command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for text in process.stdout:
            print(text, end="", flush=True)
            if text.startswith((OK, MISS)):
                lines.append(text.rstrip())
    if process.returncode and not any(text.startswith(MISS) for text in lines):
        lines.append(f"{MISS} {proof.script} broke off with exit code {process.returncode}")
        print(lines[-1])
    return lines


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
