#!/usr/bin/env python
"""The report that `emotion-ray evaluate` writes, of the full synthetic sample, as it stands in results/sample/.

    python benchmarks/sample_report.py

Both models at their defaults by both protocols, with the control: about half an hour on two cores. What is done is
kept in --scratch: cut off at any time, the same command goes on.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import tyro
from machine import facts, made_by
from rich.console import Console
from sample_clips import sample_clips

from emotion_ray.sample.render import VERSION
from emotion_ray.settings import EvaluateSettings
from emotion_ray.settings.checks import default_root
from emotion_ray.walkthrough.runs import evaluated

RESULTS = Path(__file__).parents[1] / "results" / "sample"


@dataclass
class Options:
    """Evaluates both models on the synthetic sample and keeps the report."""

    out: Path = RESULTS
    """Folder for the report and its pictures; pictures that are in it go."""
    scratch: Path = Path(default_root()) / "sample_report"
    """Folder of the sample, its clips and the evaluation."""
    model: str = "both"
    """lstm, attention or both."""
    epochs: int | None = None
    """Of each training; by default the baseline's 30."""


def main(options: Options) -> None:
    console = Console()
    root = options.scratch.expanduser().absolute() / f"full-{VERSION}"
    sample_clips(root, "full", console)
    settings = EvaluateSettings(root=str(root), run="report", model=options.model, epochs=options.epochs)
    report, _, _ = evaluated(settings, console)
    made = f"{made_by('sample_report.py', facts())} Version {VERSION} of the sample."
    title, rest = report.with_suffix(".md").read_text("utf-8").split("\n", 1)
    options.out.mkdir(parents=True, exist_ok=True)
    for picture in options.out.glob("*.png"):
        picture.unlink()
    (options.out / "report.md").write_text(f"{title}\n\n{made}\n{rest}", "utf-8")
    for picture in sorted(report.parent.glob("*.png")):
        shutil.copy(picture, options.out)
    console.print(f"{options.out / 'report.md'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
