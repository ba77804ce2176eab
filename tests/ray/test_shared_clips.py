"""Trials at once share one copy of the clips: measured, over the code that any trial runs."""

import json
from pathlib import Path

import pytest
from random_clips import random_clips

from emotion_ray.distributed import trial as module
from emotion_ray.distributed.preflight import Need
from emotion_ray.distributed.search_space import settings_of
from emotion_ray.distributed.sweep import run_sweep
from emotion_ray.distributed.trial import SweepTask, trainable
from emotion_ray.settings import TuneSettings

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRIALS, EPOCHS = 4, 1
TRAIN, VALIDATION = 3200, 800  # 184 MB of clips, so small ones that a batch of them weighs nothing against that
FRAMES, SIZE = 15, 32


@pytest.mark.timeout(180)
def test_four_trials_at_once_hold_one_copy_of_the_clips(ray_here, tmp_path, monkeypatch):
    train, validation = random_clips(TRAIN, FRAMES, SIZE), random_clips(VALIDATION, FRAMES, SIZE, seed=1)
    one_copy = train.frames.nbytes + validation.frames.nbytes
    parts = ray_here.put(train), ray_here.put(validation)
    monkeypatch.setattr(module, "run_trial", watched(module.run_trial, tmp_path))
    task = SweepTask(str(tmp_path / "trials"), "lstm", EPOCHS, seed=0, workers=1, need=Need(cpus=0.5), max_failures=0)
    settings = TuneSettings(trials=TRIALS, epochs=EPOCHS, scheduler="none")
    rows = run_sweep(settings, task, trainable(task, *parts), TRIALS, str(tmp_path))

    assert [(row.status, row.epochs) for row in rows] == [("all epochs", EPOCHS)] * TRIALS
    told = [json.loads(path.read_text()) for path in tmp_path.glob("*.after.json")]
    assert len(told) == len({one["pid"] for one in told}) == TRIALS
    for one in told:
        assert one["mapped"]["train"].startswith("/dev/shm/")
        assert one["mapped"]["validation"].startswith("/dev/shm/")
    before = sum(json.loads(path.read_text())["pss"] for path in tmp_path.glob("*.before.json"))
    growth = sum(one["pss"] for one in told) - before
    assert growth < 2 * one_copy


def watched(run_trial, folder: Path):
    """As `trial.run_trial`, but with a model that costs next to nothing, and the memory told before and after.

    Memory is PSS, in which a page that several processes share counts once in their sum. The trials wait for each
    other, so that all four are there when it is measured.
    """

    def run(config, task, train, validation):
        import os
        import re
        import time

        import torch

        from emotion_ray.learning import resumable

        class MeanColour(torch.nn.Linear):
            def __init__(self):
                super().__init__(3, 8)
                self.frames, self.size, self.classes = FRAMES, SIZE, 8

            def forward(self, frames_BTCHW, num_frames):
                return super().forward(frames_BTCHW.mean((1, 3, 4)))

        def tell(when, **facts):
            everyone("came", when)
            text = Path("/proc/self/smaps_rollup").read_text()
            pss = 1024 * int(re.search(r"^Pss: +(\d+) kB$", text, re.M)[1])
            (folder / f"{os.getpid()}.{when}.json").write_text(json.dumps({"pid": os.getpid(), "pss": pss, **facts}))
            everyone("told", when)

        def everyone(did, when):
            """Returns when all trials have got so far."""
            (folder / f"{os.getpid()}.{when}.{did}").touch()
            until = time.monotonic() + 60
            while len(list(folder.glob(f"*.{when}.{did}"))) < TRIALS:
                assert time.monotonic() < until, "the trials are not there at once"
                time.sleep(0.02)

        def mapping(array):
            """Which file the array's memory is of."""
            place = array.ctypes.data
            for line in Path("/proc/self/maps").read_text().splitlines():
                low, high = (int(edge, 16) for edge in line.split()[0].split("-"))
                if low <= place < high:
                    return " ".join(line.split()[5:])
            return ""

        whole, resumable.new_model = resumable.new_model, lambda *_: MeanColour()
        try:
            # What a process imports for its first training, and takes for one of any size, is no copy of the clips.
            few, settings = train.take(range(32)), settings_of("lstm", config, EPOCHS, 0)
            list(resumable.train_resumably(folder / f"few-{os.getpid()}", "lstm", few, few, settings))
            tell("before")
            run_trial(config, task, train, validation)
        finally:
            resumable.new_model = whole
        tell("after", mapped={"train": mapping(train.frames), "validation": mapping(validation.frames)})

    return run
