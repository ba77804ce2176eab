"""How long reproducing takes on this machine, and how much disk, by arithmetic from sizes and measured speeds."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from emotion_ray.data.archive_cache import CacheEntry
from emotion_ray.data.clips import Clips
from emotion_ray.data.plan import Plan
from emotion_ray.data.ravdess import EMOTIONS, TAKES_AN_ARCHIVE, Code
from emotion_ray.data.splits import Split, one_split, search_split
from emotion_ray.learning.cost import measure_cost
from emotion_ray.learning.evaluate import plan
from emotion_ray.settings import ReproduceSettings, TrainSettings
from emotion_ray.walkthrough.stages import duration

DOWNLOAD_RATE = 20e6  # bytes a second: an assumption, which the network decides on
# Core seconds a take of 60 frames of 720p, on a machine a third as fast as that of results/benchmarks/prepare.md.
CROP_CORE_S = {"track": 1.2, "exact": 1.6}
STORE_BYTES = 1e9  # checkpoints of a sweep under way, and the models
MODELS = ("lstm", "attention")
STEPS = 3


@dataclass(frozen=True)
class Speed:
    """Seconds that this whole machine takes for a clip: to train on it once, and to predict it."""

    train: float
    predict: float


@dataclass(frozen=True, eq=False)
class Training:
    """A training that is planned: of which model, on which split."""

    model: str
    split: Split

    def epoch_seconds(self, speed: Speed) -> float:
        """Of one epoch: to train on the one part, and to predict the other."""
        return len(self.split.train) * speed.train + len(self.split.validation) * speed.predict


@dataclass(frozen=True)
class Part:
    """One part of the work: what it is, how much of it is left, how long that takes, and the disk it needs."""

    what: str
    amount: str
    seconds: float
    bytes: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What is left to do, part by part."""

    parts: tuple[Part, ...]

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def bytes(self) -> float:
        return sum(part.bytes for part in self.parts)

    def table(self) -> Table:
        table = Table(title="what is left to do, on this machine alone, at most", box=SIMPLE_HEAD, show_footer=True)
        table.add_column("stage", "in all")
        table.add_column("work")
        table.add_column("time", duration(self.seconds), justify="right")
        table.add_column("disk", f"{self.bytes / 1e9:.1f} GB", justify="right")
        for part in self.parts:
            disk = f"{part.bytes / 1e9:.1f} GB" if part.bytes else ""
            table.add_row(part.what, part.amount, duration(part.seconds) if part.seconds else "", disk)
        return table


def measure_speeds(settings: ReproduceSettings) -> dict[str, Speed]:
    """Trains each model for a few steps on noise, some ten seconds for both; on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lengths = (settings.frames, max(1, settings.frames // 2))
    found = {}
    for model in MODELS:
        cost = measure_cost(
            model, TrainSettings(), settings.frames, settings.size, device, torch.get_num_threads(), lengths, STEPS
        )
        found[model] = Speed(cost.step_seconds / cost.batch, cost.clip_seconds[settings.frames])
    return found


def planned_trainings(settings: ReproduceSettings, actors: Sequence[int]) -> dict[str, list[Training]]:
    """The trainings of each stage, as though each actor's archive held RAVDESS's 60 takes.

    Args:
        settings: what is to be done.
        actors: each once.

    Raises:
        EmotionRayError: too few actors to be split by the protocols.
    """
    clips = takes_of(actors)
    facts = (clips.emotion, clips.actor, clips.clip_id)
    train, tune = settings.train, settings.tune
    plain = one_split(train.protocol, *facts, train.seed, train.fold)
    search = search_split(tune.protocol, *facts, tune.seed, tune.fold)
    tested = plan(clips, MODELS, seeds=range(settings.seeds))
    return {
        "train": [Training(model, plain) for model in MODELS],
        "tune": [Training(model, search) for model in MODELS for _ in range(tune.trials)],
        "evaluate": [Training(run.model, run.split) for run in tested for _ in ("baseline", "tuned")],
    }


def estimate(
    settings: ReproduceSettings,
    wanted: Plan,
    trainings: Mapping[str, Sequence[Training]],
    speeds: Mapping[str, Speed],
) -> Estimate:
    """Adds up what is left, as though no trial were stopped early.

    Args:
        settings: what is to be done.
        wanted: the archives, and what is there of their clips (`Plan.take_stock`).
        trainings: those left to do, by stage.
        speeds: of each model that is trained.
    """
    parts = _preparing(settings, wanted)
    for stage, those in trainings.items():
        seconds = sum(settings.epochs * one.epoch_seconds(speeds[one.model]) for one in those)
        parts.append(Part(stage, f"{len(those)} trainings of {settings.epochs} epochs", seconds))
    if trainings:
        parts.append(Part("keep", "models and checkpoints", 0.0, STORE_BYTES))
    return Estimate(tuple(parts))


def _preparing(settings: ReproduceSettings, wanted: Plan) -> list[Part]:
    """The parts of downloading and of cropping, where any is left."""
    archives = [work.archive for work in wanted.work() if work.archive]
    if not archives:
        return []
    cache = settings.prepare.cache_folder
    missing = sum(CacheEntry(cache, archive).bytes_missing() for archive in archives)
    takes = TAKES_AN_ARCHIVE * len(wanted.archives) - len(wanted.held)
    count = min(max(takes, 0), TAKES_AN_ARCHIVE * len(archives))
    crop_s = CROP_CORE_S[settings.detector] * settings.frames / 60 / len(os.sched_getaffinity(0))
    clip_bytes = settings.frames * settings.size**2 * 3
    download = f"{len(archives)} archives, at {DOWNLOAD_RATE / 1e6:.0f} MB/s"
    return [
        Part("download", download, missing / DOWNLOAD_RATE, missing),
        Part("prepare", f"{count} clips", count * crop_s, count * clip_bytes),
    ]


def takes_of(actors: Sequence[int]) -> Clips:
    """What is known of RAVDESS's takes of some actors before one has them: names and labels, no pictures."""
    codes = [
        Code(1, 1, emotion, intensity, statement, repetition, actor)
        for actor in actors
        for emotion in range(len(EMOTIONS))
        for intensity in ((1,) if emotion == 0 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    ]
    return Clips(
        clip_id=[code.clip_id for code in codes],
        actor=np.array([code.actor for code in codes]),
        emotion=np.array([code.emotion for code in codes]),
        frames=np.zeros((len(codes), 0, 0, 0, 3), np.uint8),
        num_frames=np.zeros(len(codes), np.int64),
        found=np.zeros((len(codes), 0), np.uint8),
        prepared_with=frozenset(),
    )
