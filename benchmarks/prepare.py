#!/usr/bin/env python
"""How fast preparing is: the cascade against facenet-pytorch and against decoding alone, and the job on Ray.

    python benchmarks/prepare.py --json prepare.json --page results/benchmarks/prepare.md

The first 60 frames of four original 720p RAVDESS takes. Each form runs in a process of its own, pinned to one
core; the processes take turns; medians over the rounds are summed over the takes. The Ray job runs on archives
of such takes that lie on the disk, against two plain processes side by side, one a core.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import tyro
from asked import Target
from machine import facts, made_by
from prepare_forms import FORMS, FRAMES, measure_form, profile_form, takes_720p
from prepare_job import lay_out, measure_memory, measure_plain, measure_ray

TARGETS = {
    "exact_vs_facenet": Target("facenet-pytorch's time by ours, exact", 10),
    "track_vs_facenet": Target("facenet-pytorch's time by ours, track", 20),
    "track_vs_decode": Target("our time, track, by that of decoding to RGB alone", 2.5, smaller=True),
    "ray_vs_two_processes": Target("clips a second of the Ray job by those of two plain processes", 0.88),
    "peak_memory_160_vs_40": Target("peak memory with 160 takes by that with 40", 1.1, smaller=True),
}


@dataclass(frozen=True)
class Arguments:
    """What to measure and where to write it."""

    json: Path | None = None
    """File for the figures."""
    page: Path | None = None
    """File for the page."""
    rounds: int = 3
    """Times that each form is measured."""
    takes: int = 128
    """Takes of the Ray job's rate."""
    only: str | None = None
    """forms, ray or memory: a part alone."""
    measure: str | None = None
    """Measure one form in this process and print it; used by the benchmark itself."""


def compare_forms(rounds: int) -> dict[str, float]:
    """Milliseconds a frame of each form: medians over the rounds, the four takes together."""
    seconds: dict[str, list[list[float]]] = {form: [] for form in FORMS}
    for _ in range(rounds):
        for form in FORMS:
            seconds[form].append(_in_a_process("--measure", form))
    frames = len(takes_720p()) * FRAMES
    return {form: sum(map(median, zip(*runs, strict=True))) / frames * 1e3 for form, runs in seconds.items()}


def compare_ray(rounds: int, takes: int) -> dict[str, float]:
    """Clips a second of the Ray job and of two plain processes: medians over the rounds, in alternation."""
    ray_rates, plain_rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        lay_out(takes, Path(folder))
        for _ in range(rounds):
            ray_rates.append(_in_a_process("--measure", f"ray:{folder}"))
            halves = [_start("--measure", f"plain{half}:{folder}") for half in range(2)]
            plain_rates.append(sum(_result(half) for half in halves))
    return {"ray_clips_a_second": median(ray_rates), "two_processes_clips_a_second": median(plain_rates)}


def compare_memory() -> dict[str, float]:
    """Peak memory in bytes (summed PSS of all processes) of the Ray job with 40 and with 160 takes."""
    peaks = {}
    for takes in (40, 160):
        with tempfile.TemporaryDirectory() as folder:
            lay_out(takes, Path(folder))
            peaks[f"peak_bytes_{takes}"] = _in_a_process("--measure", f"memory:{folder}")
    return peaks


def _start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen):
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a measuring process failed with exit code {process.returncode}")
    return json.loads(output.splitlines()[-1])


def _in_a_process(*arguments: str):
    return _result(_start(*arguments))


def measure(what: str):
    """One measurement in this process: the name of a form, or a kind and a folder."""
    kind, _, folder = what.partition(":")
    match kind:
        case "ray":
            return measure_ray(Path(folder))
        case "memory":
            return measure_memory(Path(folder))
        case "plain0" | "plain1":
            return measure_plain(Path(folder), int(kind[-1]))
        case "profile":
            return profile_form(folder)
        case _:
            return measure_form(kind)


def page(result: dict) -> str:
    """The figures as a page in Markdown."""
    lines = [
        "# Preparing: speed and memory",
        "",
        made_by("prepare.py", result, "prepare"),
        "",
        *__doc__.strip().split("\n\n", 2)[-1].splitlines(),
        "",
        "| ratio | asked | got | |",
        "|---|---|---|---|",
    ]
    for name, value in result["ratios"].items():
        lines.append(TARGETS[name].row(value))
    if "ms_a_frame" in result:
        lines += ["", "| form | ms a frame |", "|---|---|"]
        lines += [f"| {form} | {value:.2f} |" for form, value in result["ms_a_frame"].items()]
    if "profile" in result:
        lines += ["", "Where the time goes, ms a frame, by Python's profiler, which adds its own:", ""]
        lines += ["| part | " + " | ".join(result["profile"]) + " |", "|---" * (1 + len(result["profile"])) + "|"]
        for part in next(iter(result["profile"].values())):
            lines.append(f"| {part} | " + " | ".join(f"{form[part]:.2f}" for form in result["profile"].values()) + " |")
    if "rates" in result:
        rates = result["rates"]
        lines += ["", f"The Ray job made {rates['ray_clips_a_second']:.2f} clips a second, two plain processes "]
        lines[-1] += f"{rates['two_processes_clips_a_second']:.2f}."
    if "memory" in result:
        peaks = [f"{result['memory'][f'peak_bytes_{takes}'] / 1e9:.2f} GB with {takes} takes" for takes in (40, 160)]
        lines += ["", f"Peak memory, summed PSS of all of Ray's processes: {' and '.join(peaks)}."]
    return "\n".join(lines) + "\n"


def main(arguments: Arguments) -> None:
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    result: dict = {**facts(), "ratios": {}}
    ratios = result["ratios"]
    if arguments.only in (None, "forms"):
        forms = result["ms_a_frame"] = compare_forms(arguments.rounds)
        ratios["exact_vs_facenet"] = forms["facenet"] / forms["exact"]
        ratios["track_vs_facenet"] = forms["facenet"] / forms["track"]
        ratios["track_vs_decode"] = forms["track"] / forms["decode"]
        result["profile"] = {form: _in_a_process("--measure", f"profile:{form}") for form in ("exact", "track")}
    if arguments.only in (None, "ray"):
        rates = result["rates"] = compare_ray(arguments.rounds, arguments.takes)
        ratios["ray_vs_two_processes"] = rates["ray_clips_a_second"] / rates["two_processes_clips_a_second"]
    if arguments.only in (None, "memory"):
        peaks = result["memory"] = compare_memory()
        ratios["peak_memory_160_vs_40"] = peaks["peak_bytes_160"] / peaks["peak_bytes_40"]
    for name, value in ratios.items():
        TARGETS[name].judge(value)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.page:
        arguments.page.write_text(page(result))


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
