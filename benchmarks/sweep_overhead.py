"""What Ray Tune adds between trials: a sweep of one worker at a time, against the same trainings one by one.

    python benchmarks/sweep_overhead.py sweep|alone

The trials are short, so that the time of training, which moves from run to run, is not taken for overhead. Both
forms call the same function for a trial, which writes the same checkpoints; `benchmarks/learn.py` runs each in
processes of its own and compares.
"""

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from noise_clips import noise_clips

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips
from emotion_ray.distributed.search_space import baseline, settings_of
from emotion_ray.learning.resumable import train_resumably

TRIALS, EPOCHS, SEED = 6, 2, 0
ARCHITECTURE = "lstm"


def clips() -> Clips:
    """So few and so small ones that an epoch of them takes some hundredths of a second."""
    return noise_clips(count=16, frames=8, size=32)


def alone(folder: Path) -> float:
    """Seconds from the beginning of the first training to the beginning of the last."""
    keep_freed_memory()
    torch.set_num_threads(1)
    data, began = clips(), []
    for number in range(TRIALS):
        began.append(time.monotonic())
        settings = settings_of(ARCHITECTURE, baseline(ARCHITECTURE), EPOCHS, SEED)
        for _ in train_resumably(folder / str(number), ARCHITECTURE, data, data, settings):
            pass
    return began[-1] - began[0]


def sweep(folder: Path) -> float:
    """Seconds from the beginning of the first trial to the beginning of the last, in a sweep on Ray Tune."""
    import ray
    from optuna.distributions import CategoricalDistribution

    from emotion_ray.distributed import sweep as module
    from emotion_ray.distributed.cluster import connected
    from emotion_ray.distributed.preflight import Need
    from emotion_ray.distributed.trial import CONFIG, SweepTask, trainable
    from emotion_ray.settings import TuneSettings

    data = clips()
    task = SweepTask(str(folder / "trials"), ARCHITECTURE, EPOCHS, SEED, workers=1, need=Need(1), max_failures=0)
    settings = TuneSettings(trials=TRIALS, epochs=EPOCHS, seed=SEED, scheduler="none")
    # All trials with the baseline's settings: those of a search would each train for another time.
    only = {name: CategoricalDistribution((value,)) for name, value in baseline(ARCHITECTURE).items()}
    module.search_space = lambda architecture, workers: only
    with connected():
        shared = ray.put(data)
        module.run_sweep(settings, task, trainable(task, shared, shared), 1, str(folder))
    began = sorted(path.stat().st_mtime for path in (folder / "trials").glob(f"*/{CONFIG}"))
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    return sum(gaps)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        seconds = {"alone": alone, "sweep": sweep}[sys.argv[1]](Path(made))
    print(json.dumps({"seconds_a_trial": seconds / (TRIALS - 1)}))
