"""Tune: searches for better settings than the baseline's, and says on untouched clips what that was worth."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import ray
import torch
from rich.console import Console

from emotion_ray.data.clips import Clips, read_clips
from emotion_ray.data.provenance import read_provenance
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.splits import Split, search_split
from emotion_ray.data.storage import Folder
from emotion_ray.distributed.cluster import connected, starts_here
from emotion_ray.distributed.leaderboard import Leaderboard, Row, ranked
from emotion_ray.distributed.preflight import Machine, Need, this_machine, trials_at_once, worker_need
from emotion_ray.distributed.search_space import search_space, settings_of
from emotion_ray.distributed.shared_folder import check_shared
from emotion_ray.distributed.sweep import run_sweep
from emotion_ray.distributed.sweep_plots import write_plots
from emotion_ray.distributed.sweep_progress import Display
from emotion_ray.distributed.trial import DRIVER_CPUS, SweepTask, trainable
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning import metrics
from emotion_ray.learning.history import read_history
from emotion_ray.learning.metrics import Interval
from emotion_ray.learning.run_folder import RunFolder, open_run
from emotion_ray.learning.run_models import architectures, finish, models_left
from emotion_ray.learning.summaries import difference, select, summarise
from emotion_ray.learning.trained import Trained, store_model
from emotion_ray.models.architectures import build
from emotion_ray.settings import TuneSettings

SPARE_BYTES = 2**28


@dataclass(frozen=True)
class Sweep:
    """What a sweep came to.

    Attributes:
        board: all trials.
        model: the best one's name in the store.
        folder: a path or URI, of the leaderboard and the pictures.
    """

    board: Leaderboard
    model: str
    folder: str


def tune(settings: TuneSettings, console: Console) -> list[Sweep]:
    """Runs a sweep, or one for each model, and puts the best model of each into the store under ROOT/models.

    Settings are chosen by validation clips; the split's test clips are looked at once, at the end, to compare the
    best trial with the baseline. Killed at any moment and called again with `resume`, it goes on: trials that
    ended are kept, those under way go on from their last epoch.

    Raises:
        EmotionRayError: what was asked for can never run here, or no trial came through; the message says why.
    """
    run, settings = open_run("tune", settings)
    for architecture in architectures(settings.model):
        search_space(architecture, settings.workers_per_trial)
    room = _room(settings, [this_machine()]) if starts_here() else None
    clips = read_clips(Folder.at(settings.clips_folder))
    data = read_provenance(Folder.at(settings.clips_folder))
    split = search_split(settings.protocol, clips.emotion, clips.actor, clips.clip_id, settings.seed, settings.fold)
    store = f"{settings.root}/models"
    names = models_left(run, settings)
    if not names:
        console.print(f"run {run.name}: its models are in the store already", soft_wrap=True)
        return []
    sweeps = []
    with connected(
        watchers=math.ceil(room[1] * DRIVER_CPUS) if room and settings.workers_per_trial > 1 else 0
    ) as place:
        need, at_once = room if room else _room(settings, place.machines, DRIVER_CPUS)
        check_shared(run.path())
        for architecture in names:
            _check_space(run.path(), architecture, clips, at_once)
        run.begin(clips)
        console.print(
            f"tuning on {place}: {at_once} trials at a time, each of {settings.workers_per_trial} x {need}",
            soft_wrap=True,
        )
        parts = ray.put(clips.take(split.train)), ray.put(clips.take(split.validation))
        for architecture, name in names.items():
            task = SweepTask(
                folder=f"{run.path(architecture)}/trials",
                architecture=architecture,
                epochs=settings.epochs,
                seed=settings.seed,
                workers=settings.workers_per_trial,
                need=need,
                max_failures=settings.max_failures,
                mixed_precision=settings.mixed_precision,
            )
            rows = _sweep(run, task, settings, at_once, parts, console)
            tested, actors = _tested(task, rows, clips, split), len(set(clips.actor[split.test]))
            board = Leaderboard(architecture, data.label, rows, settings.epochs, tested, actors)
            _write(run, task, board)
            store_model(store, name, _trained(task, board.best), clips, split, data)
            finish(run, settings, architecture)
            sweeps.append(Sweep(board, name, run.path(architecture)))
    return sweeps


def _room(settings: TuneSettings, machines: Sequence[Machine], watching: float = 0.0) -> tuple[Need, int]:
    """What each worker gets, and how many trials run at once; `watching` CPUs go to each trial of several workers."""
    workers = settings.workers_per_trial
    need = worker_need(
        workers,
        settings.device,
        settings.cpus_per_worker or 1,
        settings.gpus_per_worker,
        machines,
        "--workers-per-trial",
    )
    watching = watching if workers > 1 else 0.0
    return need, trials_at_once(settings.max_concurrent, settings.trials, workers, need, machines, watching)


def _check_space(folder: str, architecture: str, clips: Clips, at_once: int) -> None:
    """Refuses a sweep whose checkpoints would not fit on the disk, at the largest sizes of its space."""
    if not Folder.at(folder).is_local:
        return
    frames, size = clips.frames.shape[1:3]
    largest = {name: max(choices.choices) for name, choices in search_space(architecture).items() if "." in name}
    sizes = getattr(settings_of(architecture, largest, 1, 0), architecture)
    with torch.device("meta"):
        parameters = sum(one.numel() for one in build(architecture, sizes, frames, size, len(EMOTIONS)).parameters())
    checkpoint = parameters * 4 * 4  # float32: the weights, the best epoch's, and Adam's two means
    # A new one is written before the old one goes, an ended trial's waits for its pruning, and two stay: the best's and
    # the baseline's.
    kept = 3 * at_once + 2
    there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if place.exists())
    wanted, free = kept * checkpoint + SPARE_BYTES, shutil.disk_usage(there).free
    if wanted > free:
        raise EmotionRayError(
            f"a sweep needs up to {kept} checkpoints x {checkpoint / 1e6:,.0f} MB and some more = "
            f"{wanted / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free: "
            "free space, give another --root, or a smaller --max-concurrent"
        )


def _sweep(
    run: RunFolder,
    task: SweepTask,
    settings: TuneSettings,
    at_once: int,
    parts: "tuple[ray.ObjectRef[Clips], ray.ObjectRef[Clips]]",
    console: Console,
) -> tuple[Row, ...]:
    """Runs the trials, or what is left of them; `parts` are the training and the validation clips."""
    with Display(console, task.architecture, settings.trials, settings.epochs) as display:
        return ranked(run_sweep(settings, task, trainable(task, *parts), at_once, run.path(task.architecture), display))


def _write(run: RunFolder, task: SweepTask, board: Leaderboard) -> None:
    folder = Folder.at(run.path(task.architecture))
    board.write(folder)
    write_plots(folder, board, {row.trial: read_history(task.trial_folder(row.trial)) for row in board.rows})


def _tested(task: SweepTask, rows: tuple[Row, ...], clips: Clips, split: Split) -> dict[str, dict[str, Interval]]:
    """WAR and UAR of the best trial and of the baseline on the test clips, and by how much they differ."""
    chosen = {"best": rows[0], "baseline": next((row for row in rows if row.baseline), None)}
    if chosen["baseline"] is None or chosen["baseline"].status == "failed":
        del chosen["baseline"]
    tables = [
        select(_trained(task, row).test(clips, split, name), choice="best") for name, row in chosen.items() if row
    ]
    predictions = pa.concat_tables(tables)
    found = {summary.model: {"uar": summary.uar, "war": summary.war} for summary in summarise(predictions)}
    if len(chosen) == 2:
        found["gain"] = {
            name: difference(predictions, metric, "best", "baseline", split.protocol)
            for name, metric in (("uar", metrics.uar), ("war", metrics.war))
        }
    return found


def _trained(task: SweepTask, row: Row) -> Trained:
    settings = task.settings_of(row.config)
    return Trained.read(task.trial_folder(row.trial), task.architecture, settings)
