"""The job of preparing on Ray, and two plain processes beside it: clips a second and memory, on archives of takes."""

import io
import itertools
import os
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from memory import PeakMemory
from prepare_forms import takes_720p
from rich.console import Console

from emotion_ray.data.ravdess import Code
from emotion_ray.settings import CropSettings, PrepareSettings


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
