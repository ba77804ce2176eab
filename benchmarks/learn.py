#!/usr/bin/env python
"""How fast the training loop is, against the baseline's models and loop in plain PyTorch.

    python benchmarks/learn.py --json learn.json --page results/benchmarks/learn.md

Each form runs in a process of its own, since two in one would share the allocator's state; the processes take
turns, and what is compared are medians over the rounds. The plain form gets its clips as float32 in memory, ready
to use; our loop is timed whole, from uint8 clips to the end of the epoch.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro
from asked import Target
from machine import facts, made_by
from noise_clips import noise_clips
from plain_models import PlainAttention, PlainLSTM, plain_step
from torch.utils.flop_counter import FlopCounterMode

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips
from emotion_ray.learning.loop import fit, new_model
from emotion_ray.settings import TrainSettings

PLAIN = {"lstm": PlainLSTM, "attention": PlainAttention}
FORMS = ("plain", "plain_allocator", "ours")
BATCH, FRAMES, SIZE, STEPS = 8, 60, 64, 6
PRODUCT = 2048  # rows and columns of the matrix product whose rate sets the floor


TARGETS = {
    "lstm_step_vs_plain": Target("LSTM: time of a plain step, by ours", 2.3),
    "attention_step_vs_plain": Target("attention: time of a plain step, by ours", 2.3),
    "lstm_step_vs_plain_allocator": Target("LSTM: a plain step with our allocator setting, by ours", 1.25),
    "attention_step_vs_plain_allocator": Target("attention: a plain step with our allocator setting, by ours", 1.25),
    "lstm_step_vs_floor": Target(
        "LSTM: our step, by the time its operations take at a matrix product's rate", 1.6, True
    ),
    "attention_step_vs_floor": Target("attention: our step, by the time of its operations at that rate", 1.6, True),
    "data_wait_share": Target("part of an epoch spent waiting for a batch, the larger of both models'", 0.02, True),
    "tune_overhead_s": Target(
        "seconds that Ray Tune adds to each trial of one worker, beyond the bare loop", 0.5, True
    ),
}


@dataclass
class Options:
    """Measures a training step and writes what came of it."""

    json: Path | None = None
    """Write the figures here."""
    page: Path | None = None
    """Write them as a page of Markdown here."""
    rounds: int = 5
    """Times that each form is measured, in turn."""
    threads: int = 2
    """Threads PyTorch computes with."""
    measure: tuple[str, str] | None = None
    """Measure one form of one model in this process and print it: what the benchmark calls itself with."""


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    if options.measure:
        print(json.dumps(measured(*options.measure)))
        return
    rounds = [
        {model: {form: in_own_process(model, form, options.threads) for form in (*FORMS, "floor")} for model in PLAIN}
        for _ in range(options.rounds)
    ]
    sweeps = [{form: seconds_a_trial(form) for form in ("alone", "sweep")} for _ in range(options.rounds)]
    result = {
        "benchmark": "learn",
        **facts(),
        "batch": BATCH,
        "frames": FRAMES,
        "size": SIZE,
        "threads": options.threads,
        "rounds": rounds,
        "seconds_a_trial": sweeps,
        "ratios": {**step_ratios(rounds), "tune_overhead_s": tune_overhead(sweeps)},
    }
    for name, value in result["ratios"].items():
        TARGETS[name].judge(value)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.page:
        options.page.write_text(page(result))


def in_own_process(model: str, form: str, threads: int) -> dict[str, float]:
    """What a fresh process measures."""
    command = [sys.executable, __file__, "--threads", str(threads), "--measure", model, form]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def seconds_a_trial(form: str) -> float:
    """What `sweep_overhead.py` measures of a form, in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("sweep_overhead.py")), form]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["seconds_a_trial"]


def tune_overhead(sweeps: list[dict[str, float]]) -> float:
    """Seconds: the median of a trial in a sweep, less that of the same training alone."""
    return median(each["sweep"] for each in sweeps) - median(each["alone"] for each in sweeps)


def measured(model: str, form: str) -> dict[str, float]:
    """Figures of one form of one model, in this process."""
    if form == "floor":
        return floor(model)
    return our_epoch(model) if form == "ours" else plain_steps(model, with_allocator=form == "plain_allocator")


def clips() -> Clips:
    """An epoch of clips."""
    return noise_clips(BATCH * STEPS, FRAMES, SIZE)


def plain_steps(model: str, with_allocator: bool) -> dict[str, float]:
    """Seconds of a step of the plain form: the mean over an epoch, after an epoch to warm up."""
    if with_allocator:
        keep_freed_memory()
    data = clips()
    torch.manual_seed(0)
    network = PLAIN[model]()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    frames = torch.from_numpy(data.frames).movedim(-1, 2).float().div_(255).contiguous()
    batches = list(zip(frames.split(BATCH), torch.from_numpy(data.emotion).split(BATCH), strict=True))
    for _ in range(2):
        start = time.perf_counter()
        for batch, labels in batches:
            plain_step(network, optimizer, batch, labels)
    return {"step_seconds": (time.perf_counter() - start) / STEPS}


def our_epoch(model: str) -> dict[str, float]:
    """Seconds of a step of our loop: of a whole epoch by its steps, after an epoch to warm up."""
    keep_freed_memory()
    data = clips()
    settings = TrainSettings(epochs=2, batch=BATCH)
    *_, last = fit(new_model(model, settings, data), data, data.take(np.arange(BATCH)), settings)
    seconds, waited = last.record["train_seconds"], last.record["data_wait_seconds"]
    return {"step_seconds": seconds / STEPS, "data_wait_share": waited / seconds}


def floor(model: str) -> dict[str, float]:
    """Seconds that a step's multiplications and additions take at the rate of a large matrix product."""
    network = PLAIN[model]()
    # Without oneDNN the LSTM is made of single products, which the counter knows.
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None), FlopCounterMode(display=False) as counter:
        network(torch.zeros(BATCH, FRAMES, 3, SIZE, SIZE)).sum().backward()
    left, right = torch.randn(2, PRODUCT, PRODUCT)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - start)
    rate = 2 * PRODUCT**3 / median(times)
    return {
        "operations": counter.get_total_flops(),
        "per_second": rate,
        "step_seconds": counter.get_total_flops() / rate,
    }


def step_ratios(rounds: list[dict]) -> dict[str, float]:
    """The ratios of medians over the rounds; `TARGETS` says what each means."""
    step = {
        (model, form): median(each[model][form]["step_seconds"] for each in rounds)
        for model in PLAIN
        for form in (*FORMS, "floor")
    }
    ratios = {}
    for model in PLAIN:
        ratios[f"{model}_step_vs_plain"] = step[model, "plain"] / step[model, "ours"]
        ratios[f"{model}_step_vs_plain_allocator"] = step[model, "plain_allocator"] / step[model, "ours"]
        ratios[f"{model}_step_vs_floor"] = step[model, "ours"] / step[model, "floor"]
    waits = [median(each[model]["ours"]["data_wait_share"] for each in rounds) for model in PLAIN]
    return {**ratios, "data_wait_share": max(waits)}


def page(result: dict) -> str:
    """The figures as Markdown."""
    rounds, ratios = result["rounds"], result["ratios"]
    lines = [
        "# Training speed",
        "",
        made_by(f"learn.py --rounds {len(rounds)}", result, "learn"),
        "",
        f"One training step: {result['batch']} clips of {result['frames']} frames of {result['size']}x{result['size']} "
        f"px, {result['threads']} threads. Each form runs in its own process, the processes take turns, "
        f"{len(rounds)} rounds. The plain form is the baseline's models and loop in plain PyTorch, its clips as "
        "float32 in memory, ready to use; ours is the whole loop from uint8 clips on. The floor is the number of "
        f"operations by the rate of a {PRODUCT}x{PRODUCT} matrix product.",
        "",
        "| | seconds a step, median | lowest | highest |",
        "|---|---|---|---|",
    ]
    for model in PLAIN:
        for form, name in zip((*FORMS, "floor"), ("plain", "plain, allocator set", "ours", "floor"), strict=True):
            seconds = [each[model][form]["step_seconds"] for each in rounds]
            lines.append(f"| {model}, {name} | {median(seconds):.3f} | {min(seconds):.3f} | {max(seconds):.3f} |")
    trial = {form: median(each[form] for each in result["seconds_a_trial"]) for form in ("alone", "sweep")}
    lines += [
        "",
        f"A short trial of one worker takes {trial['alone']:.2f} s by itself and {trial['sweep']:.2f} s in a sweep on "
        "Ray Tune, from its beginning to that of the next, with the same checkpoints written.",
    ]
    lines += ["", "| ratio | | asked | got | |", "|---|---|---|---|---|"]
    for name, value in ratios.items():
        lines.append(f"| `{name}` {TARGETS[name].row(value)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(tyro.cli(Options))
