"""What a classifier costs to train and to use, measured where it will run."""

import contextlib
import math
import multiprocessing
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.storage import cause_of
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.loop import fit, new_model
from emotion_ray.models.architectures import build
from emotion_ray.settings import TrainSettings

LENGTHS = (15, 30, 60, 120)


@dataclass(frozen=True)
class Cost:
    """What was measured of one classifier.

    Attributes:
        architecture: "lstm" or "attention".
        device: "cpu" or "cuda"; threads: PyTorch's.
        parameters: numbers that are trained; weight_bytes: their size.
        batch, frames: clips a training step, frames a clip.
        step_seconds: of one training step, data waited for included, mean over an epoch.
        peak_bytes: memory that training took at its peak: on a CPU what the process grew by, on a GPU what
            PyTorch had allocated.
        clip_seconds: for each number of frames, the median time of one clip's forward pass.
    """

    architecture: str
    device: str
    threads: int
    parameters: int
    weight_bytes: int
    batch: int
    frames: int
    step_seconds: float
    peak_bytes: int
    clip_seconds: dict[int, float]

    @property
    def growth(self) -> float:
        """How many times as long the longest clips take as ones of half their frames."""
        longest = max(self.clip_seconds)
        return self.clip_seconds[longest] / self.clip_seconds[longest // 2]


def measure_cost(
    architecture: str,
    settings: TrainSettings,
    frames: int = 60,
    size: int = 64,
    device: str = "cpu",
    threads: int = 1,
    lengths: tuple[int, ...] = LENGTHS,
    steps: int = 5,
) -> Cost:
    """Trains a classifier on noise for two epochs and runs it on clips of several lengths.

    The first epoch warms up, the second is timed. It is done in a new process, so that the memory is this
    model's alone; other work on the machine meanwhile falsifies the times.

    Args:
        architecture: "lstm" or "attention".
        settings: sizes and batch; the rest of what makes a training step too.
        frames, size: of a clip.
        device: "cpu" or "cuda".
        threads: that PyTorch may compute with.
        lengths: frames for which the forward pass is timed; half of the longest must be among them.
        steps: training steps an epoch, at least.

    Raises:
        EmotionRayError: as `new_model`, or there is not enough memory.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        job = process.submit(_measure, architecture, settings, frames, size, device, threads, lengths, steps)
        try:
            return job.result()
        except (BrokenProcessPool, MemoryError, torch.OutOfMemoryError):
            raise EmotionRayError(f"training {architecture} on {device} needs more memory than there is") from None
        except RuntimeError as error:  # PyTorch's, of a CPU's memory that is used up too
            raise EmotionRayError(f"training {architecture} on {device} broke off ({cause_of(error)})") from None


def _measure(
    architecture: str,
    settings: TrainSettings,
    frames: int,
    size: int,
    device: str,
    threads: int,
    lengths: tuple[int, ...],
    steps: int,
) -> Cost:
    keep_freed_memory()
    torch.set_num_threads(threads)
    settings = replace(settings, epochs=2, patience=0)
    steps = max(steps, math.ceil(len(EMOTIONS) / settings.batch))  # training wants a clip of each emotion
    train = _noise(settings.batch * steps, frames, size)
    before = _forget_peak(device)
    model = new_model(architecture, settings, train)
    timed = list(fit(model, train, _noise(len(EMOTIONS), frames, size), settings, device))[-1]
    peak = _peak_memory(device) - before
    parameters = list(model.parameters())
    return Cost(
        architecture=architecture,
        device=device,
        threads=threads,
        parameters=sum(p.numel() for p in parameters),
        weight_bytes=sum(p.numel() * p.element_size() for p in parameters),
        batch=settings.batch,
        frames=frames,
        step_seconds=timed.record["train_seconds"] / steps,
        peak_bytes=peak,
        clip_seconds={length: _forward_seconds(architecture, settings, length, size, device) for length in lengths},
    )


@torch.inference_mode()
def _forward_seconds(architecture: str, settings: TrainSettings, frames: int, size: int, device: str) -> float:
    model = build(architecture, getattr(settings, architecture), frames, size, len(EMOTIONS)).eval().to(device)
    clip = torch.rand(1, frames, 3, size, size, device=device)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        model(clip).cpu()  # waits for a GPU to be done
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def _noise(count: int, frames: int, size: int) -> Clips:
    random = np.random.default_rng(0)
    return Clips(
        clip_id=[str(i) for i in range(count)],
        actor=np.zeros(count, np.int64),
        emotion=np.arange(count) % len(EMOTIONS),
        frames=random.integers(0, 256, (count, frames, size, size, 3), dtype=np.uint8),
        num_frames=np.full(count, frames),
        found=np.ones((count, frames), np.uint8),
        prepared_with=frozenset(["noise"]),
    )


def _forget_peak(device: str) -> int:
    """Starts the measurement of the peak anew, and gives the bytes in use now."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _process_memory("VmRSS")


def _peak_memory(device: str) -> int:
    """Bytes: the most that PyTorch had allocated on the GPU, or this process in memory."""
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else _process_memory("VmHWM")


def _process_memory(field: str) -> int:
    """Bytes, from Linux's account of this process, which unlike getrusage's peak begins with its program.

    Elsewhere there is only that peak, which may be one of before.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))
