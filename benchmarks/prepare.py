#!/usr/bin/env python
"""How fast preparing is: the cascade against facenet-pytorch and against decoding alone, and the job on Ray.

    python benchmarks/prepare.py --json prepare.json --page results/benchmarks/prepare.md

The first 60 frames of four original 720p RAVDESS takes. Each form runs in a process of its own, pinned to one
core; the processes take turns; medians over the rounds are summed over the takes. The Ray job runs on archives
of such takes that lie on the disk, against two plain processes side by side, one a core.
"""

import cProfile
import io
import itertools
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import tyro
from asked import line
from machine import facts
from memory import PeakMemory
from rich.console import Console

from emotion_ray.data.ravdess import Code
from emotion_ray.real_clips import real_clips
from emotion_ray.settings import CropSettings, PrepareSettings

FRAMES = 60
FORMS = ("facenet", "exact", "track", "decode")
TARGETS = {
    "exact_vs_facenet": ("facenet-pytorch's time by ours, exact", ">=", 10.0),
    "track_vs_facenet": ("facenet-pytorch's time by ours, track", ">=", 20.0),
    "track_vs_decode": ("our time, track, by that of decoding to RGB alone", "<=", 2.5),
    "ray_vs_two_processes": ("clips a second of the Ray job by those of two plain processes", ">=", 0.88),
    "peak_memory_160_vs_40": ("peak memory with 160 takes by that with 40", "<=", 1.10),
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


def takes_720p() -> list[Path]:
    return [path for name, path in sorted(real_clips().items()) if name.endswith(".mp4")]


# --- one form, in a process of its own -----------------------------------------------------------------------


def _take_one_core() -> None:
    import torch

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)


def measure_form(form: str) -> list[float]:
    """Seconds for each of the four takes, on this process's one core, after one that warms it up."""
    _take_one_core()
    run = {"facenet": _facenet, "exact": _ours("exact"), "track": _ours("track"), "decode": _decode}[form]()
    videos = [path.read_bytes() for path in takes_720p()]
    run(videos[0], FRAMES)
    seconds = []
    for video in videos:
        began = time.perf_counter()
        run(video, FRAMES)
        seconds.append(time.perf_counter() - began)
    return seconds


def _facenet():
    """As people do it today: decode, `MTCNN().detect` a frame, cut out the largest face, resize it."""
    import av
    import cv2
    from original_mtcnn import original_mtcnn

    mtcnn = original_mtcnn()

    def run(video: bytes, count: int) -> None:
        with av.open(io.BytesIO(video)) as container:
            for picture in itertools.islice(container.decode(video=0), count):
                frame = picture.to_ndarray(format="rgb24")
                boxes, _ = mtcnn.detect(frame)
                x0, y0, x1, y1 = (int(max(edge, 0)) for edge in boxes[0])
                cv2.resize(frame[y0:y1, x0:x1], (64, 64), interpolation=cv2.INTER_AREA)

    return run


def _ours(detector: str):
    def make():
        from emotion_ray.allocator import keep_freed_memory
        from emotion_ray.data.takes import Take
        from emotion_ray.vision.clipping import make_clip
        from emotion_ray.vision.mtcnn import MTCNN

        keep_freed_memory()
        mtcnn = MTCNN()
        take = Take("take", 1, 0, None, None, None, None, "take.mp4")

        def run(video: bytes, count: int) -> None:
            make_clip(take, video, 0, CropSettings(detector=detector, frames=count), mtcnn)

        return run

    return make


def _decode():
    from emotion_ray.vision.video import Video, sample_times

    def run(content: bytes, count: int) -> None:
        with Video(content, "take.mp4") as video:
            for _ in video.nearest(sample_times(content, "take.mp4", count)):
                pass

    return run


def compare_forms(rounds: int) -> dict[str, float]:
    """Milliseconds a frame of each form: medians over the rounds, the four takes together."""
    seconds: dict[str, list[list[float]]] = {form: [] for form in FORMS}
    for _ in range(rounds):
        for form in FORMS:
            seconds[form].append(_in_a_process("--measure", form))
    frames = len(takes_720p()) * FRAMES
    return {form: sum(map(median, zip(*runs, strict=True))) / frames * 1e3 for form, runs in seconds.items()}


# Where time goes: parts of the profile by the function that spends it, the first that fits.
PARTS = {
    "decoding": ("_pictures", "decode"),
    "conversion to RGB": ("reformat", "to_ndarray"),
    "summed-area tables": ("integral",),
    "look-ups in the tables": ("take", "areas.py"),
    "convolutions": ("conv2d",),
    "pooling": ("max_pool2d",),
    "PReLU and linear layers": ("prelu", "linear"),
    "suppression": ("_nms_by",),
}


def profile_form(form: str) -> dict[str, float]:
    """Milliseconds a frame that each part takes, over the four takes, under Python's profiler (which adds to it)."""
    _take_one_core()
    run = _ours(form)()
    videos = [path.read_bytes() for path in takes_720p()]
    run(videos[0], FRAMES)
    profiler = cProfile.Profile()
    for video in videos:
        profiler.runcall(run, video, FRAMES)
    spent = dict.fromkeys([*PARTS, "the rest"], 0.0)
    for (file, _, function), (_, _, own_s, _, _) in pstats.Stats(profiler).stats.items():
        where = f"{file}:{function}"
        part = next((part for part, names in PARTS.items() if any(name in where for name in names)), "the rest")
        spent[part] += own_s / (len(videos) * FRAMES) * 1e3
    return spent


# --- the job on Ray ------------------------------------------------------------------------------------------


def lay_out(count: int, folder: Path) -> None:
    """Archives of `count` takes under RAVDESS's names, the four real ones over and over."""
    videos = takes_720p()
    codes = (
        Code(1, 1, emotion, intensity, statement, repetition, actor)
        for actor in range(1, 25)
        for emotion in range(8)
        for intensity in (1, 2)[: 1 if emotion == 0 else 2]
        for statement in (1, 2)
        for repetition in (1, 2)
    )
    for actor, of_actor in itertools.groupby(itertools.islice(codes, count), key=lambda code: code.actor):
        with zipfile.ZipFile(folder / f"Video_Speech_Actor_{actor:02d}.zip", "w") as archive:
            for index, code in enumerate(of_actor):
                archive.write(videos[index % len(videos)], code.member)


def measure_ray(folder: Path) -> float:
    """Clips a second of the Ray job, between a quarter and three quarters of the clips."""
    from emotion_ray.distributed import progress
    from emotion_ray.distributed.prepare import prepare

    progress.LINE_EVERY_S = 1.0
    lines = _TimedLines()
    with tempfile.TemporaryDirectory() as out:
        prepare(PrepareSettings(source=str(folder), out=out), Console(file=lines, width=200))
    return _middle_rate([(when, int(line.split("/")[0])) for when, line in lines.seen if " takes: " in line])


def measure_memory(folder: Path) -> int:
    """Peak memory of the Ray job in bytes. A run of its own: adding up PSS takes a third of a core."""
    from emotion_ray.distributed.prepare import prepare

    with tempfile.TemporaryDirectory() as out, PeakMemory() as memory:
        prepare(PrepareSettings(source=str(folder), out=out), Console(file=io.StringIO()))
    return memory.peak_bytes


def measure_plain(folder: Path, half: int) -> float:
    """The same rate of one plain process, pinned to a core, that makes every second take of a folder."""
    import torch

    from emotion_ray.allocator import keep_freed_memory
    from emotion_ray.data.clips import write_shards
    from emotion_ray.data.storage import Folder
    from emotion_ray.data.takes import Choice, read_take, takes_in_folder
    from emotion_ray.vision.clipping import make_clip
    from emotion_ray.vision.mtcnn import MTCNN

    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[half]})
    torch.set_num_threads(1)
    keep_freed_memory()
    mtcnn = MTCNN()
    takes, _ = takes_in_folder(folder, Choice(None, (1,)))
    counts, clips = [(time.monotonic(), 0)], []
    with tempfile.TemporaryDirectory() as out:
        for take in takes[half::2]:
            content, crc32 = read_take(take)
            clips.append(make_clip(take, content, crc32, CropSettings(), mtcnn))
            counts.append((time.monotonic(), len(counts)))
            if len(clips) == 32:
                write_shards(Folder.at(out), clips)
                clips.clear()
        if clips:
            write_shards(Folder.at(out), clips)
    return _middle_rate(counts)


class _TimedLines(io.StringIO):
    """Collects lines with the time at which they were written."""

    def __init__(self):
        super().__init__()
        self.seen: list[tuple[float, str]] = []

    def write(self, text: str) -> int:
        self.seen.append((time.monotonic(), text))
        return len(text)


def _middle_rate(counts: list[tuple[float, int]]) -> float:
    """Clips a second between 25% and 75% of them, from (time, clips so far), by interpolation."""
    times, clips = (np.array(column, float) for column in zip(*counts, strict=True))
    first = np.searchsorted(clips, 0.25 * clips[-1])
    last = np.searchsorted(clips, 0.75 * clips[-1])
    return float((clips[last] - clips[first]) / (times[last] - times[first]))


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


# --- together ------------------------------------------------------------------------------------------------


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
        f"Made by `python benchmarks/prepare.py --page` at commit {result['commit']}, {result['date']}, "
        f"on {result['hardware']}; {result['software']}.",
        "",
        *__doc__.strip().split("\n\n", 2)[-1].splitlines(),
        "",
        "| ratio | asked | got |",
        "|---|---|---|",
    ]
    for name, value in result["ratios"].items():
        meaning, sign, bound = TARGETS[name]
        lines.append(f"| {meaning} | {sign} {bound:g} | {value:.3g} |")
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
        meaning, sign, bound = TARGETS[name]
        met = value >= bound if sign == ">=" else value <= bound
        line(met, meaning, f"{sign} {bound:g}", f"{value:.3g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.page:
        arguments.page.write_text(page(result))


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
