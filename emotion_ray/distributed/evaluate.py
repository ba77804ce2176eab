"""Evaluate: trains and tests models by a protocol, several trainings at a time where there is room, and reports."""

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
import torch
from rich.console import Console

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips, read_clips
from emotion_ray.data.provenance import read_provenance
from emotion_ray.data.splits import PROTOCOLS
from emotion_ray.data.storage import Folder, cause_of
from emotion_ray.distributed.cluster import connected, starts_here
from emotion_ray.distributed.preflight import Machine, Need, room, this_machine, worker_need
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.cost import measure_cost
from emotion_ray.learning.cross_corpus import evaluate_stored
from emotion_ray.learning.evaluate import Fitted, LoopFit, Run, RunResult, describe, evaluate_run, gather, plan
from emotion_ray.learning.explain import FrameImportance, frame_importance, load_importance, save_importance
from emotion_ray.learning.predictions import Evaluation, load_evaluation, save_evaluation
from emotion_ray.learning.report import write_report
from emotion_ray.learning.run_folder import RunFolder, open_run
from emotion_ray.learning.run_models import architectures
from emotion_ray.learning.summaries import summarise
from emotion_ray.models.store import read_record
from emotion_ray.settings import EvaluateSettings, TrainSettings, rebuilt

Importance = list[FrameImportance]
Outcome = tuple[RunResult, Importance] | str
"""What a training came to, with what the frames of some test clips mean to the model; or why it failed."""

MAX_RETRIES = 3  # of a training whose process or machine died
SAY_EVERY_S = 30.0  # where nothing ends
EXPLAINED = 3  # clips of each model whose frames are looked at


def evaluate(settings: EvaluateSettings, console: Console) -> tuple[Path, Evaluation]:
    """Runs the trainings of a plan and writes the report into ROOT/runs/RUN.

    Where several fit at once they run as Ray tasks, else one after the other in this process, without Ray. What is
    done stays done: killed at any moment and called again with `resume`, it goes on. Stored models that are tested as
    they are take seconds and no Ray.

    Returns:
        the path of the report, and what it is of.

    Raises:
        EmotionRayError: what was asked for can't run here, clips that can't be split so, or a training that failed.
    """
    run, settings = open_run("evaluate", settings)
    if not run.folder.is_local:
        raise EmotionRayError("--root is an address: the report needs a folder on a disk")
    if settings.stored:
        need, _ = _room(settings, [this_machine()])
        return evaluate_stored(run, settings, need.device, console)
    here = starts_here()
    if here:
        need, at_once = _room(settings, [this_machine()])
    fits = _fits(settings)
    clips = read_clips(Folder.at(settings.clips_folder))
    cautions = _chosen_by(settings, clips)
    provenance = read_provenance(Folder.at(settings.clips_folder))
    data = describe(clips, provenance.name, provenance.synthetic)
    protocols = PROTOCOLS if settings.protocol == "both" else [settings.protocol]
    runs = plan(clips, list(fits), protocols, range(settings.seeds), settings.control)
    left = [one for one in runs if not _part(run, one).is_dir()]
    explained = _first_of_each_model(runs)

    def keep(one: Run, done: int, outcome: Outcome) -> None:
        if isinstance(outcome, str):
            raise EmotionRayError(f"{one}: {outcome}")
        result, frames = outcome
        _write_part(_part(run, one), gather(data, [result]), frames)
        console.print(f"{len(runs) - len(left) + done}/{len(runs)} {one}: {_in_words(result)}", soft_wrap=True)

    if here or not left:
        run.begin(clips)
    if here and at_once == 1:
        for done, one in enumerate(left, 1):
            keep(one, done, _trained_and_tested(clips, one, fits[one.model], need, one in explained))
    elif left:
        with connected() as place:
            need, at_once = _room(settings, place.machines)
            run.begin(clips)
            console.print(f"evaluating on {place}: {at_once} trainings at a time, each {need}", soft_wrap=True)
            tasks = _side_by_side(clips, left, fits, need, at_once, explained, console)
            for done, (one, outcome) in enumerate(tasks, 1):
                keep(one, done, outcome)
    parts = [load_evaluation(_part(run, one)) for one in runs]
    evaluation = gather(data, [(part.predictions, part.history) for part in parts])
    importance = {one.model: load_importance(_part(run, one), clips) for one in explained}
    costs, where = {}, worker_need(1, "cpu" if settings.device == "cpu" else "auto", None, 1, [this_machine()])
    for name, one in fits.items() if settings.cost else ():
        console.print(f"measuring the cost of {name}", soft_wrap=True)
        try:
            costs[name] = measure_cost(one.model, one, *clips.frames.shape[1:3], where.device, where.threads)
        except EmotionRayError as error:
            console.print(f"its cost is left out: {error}", soft_wrap=True)
    title = f"Evaluation of {', '.join(fits)}"
    report = write_report(Path(run.path()), evaluation, title, costs, importance, _remarks(fits), cautions)
    run.note(complete=True)
    shutil.rmtree(_part(run, runs[0]).parent)
    return report, evaluation


def _room(settings: EvaluateSettings, machines: Sequence[Machine]) -> tuple[Need, int]:
    """What each training gets, and how many run at once."""
    asked = settings.at_once
    need = worker_need(
        asked or 1, settings.device, settings.cpus_per_worker or 1, settings.gpus_per_worker, machines, "--at-once"
    )
    return need, asked or room(machines, need)


def _fits(settings: EvaluateSettings) -> dict[str, TrainSettings]:
    """The settings of each model that is evaluated, by its name in the report."""
    found = {}
    for name in [] if settings.model == "none" else architectures(settings.model):
        found[name] = TrainSettings(model=name)
    for name in settings.tuned:
        if name in found:
            raise EmotionRayError(f"{name} names two models here: give --model none, or store it under another name")
        record = read_record(f"{settings.root}/models", name)
        found[name] = replace(rebuilt(TrainSettings, record.training, f"model {name}"), model=record.architecture)
    if not found:
        raise EmotionRayError(
            "nothing to evaluate: give --model, or --tuned or --stored with the names of stored models"
        )
    if settings.epochs:
        found = {name: replace(one, epochs=settings.epochs) for name, one in found.items()}
    return found


def _chosen_by(settings: EvaluateSettings, clips: Clips) -> list[str]:
    """What is to be told of settings that were chosen by clips which are tested here too."""
    cautions = []
    for name in settings.tuned:
        record = read_record(f"{settings.root}/models", name)
        baseline = asdict(TrainSettings(model=record.architecture))
        left_aside = {"model", "epochs", "seed"}
        chosen = any(
            record.training.get(key, value) != value for key, value in baseline.items() if key not in left_aside
        )
        chose = set(record.split.get("validation", ())) & set(clips.clip_id)
        if chosen and chose:
            cautions.append(
                f"If a sweep chose the settings of {name}, it did so by {len(chose)} of these very clips, which are "
                "tested here too: its figures, and its gain over others, are flattered by that. What the settings "
                "are worth on clips that chose nothing, the sweep's own leaderboard tells."
            )
    return cautions


def _trained_and_tested(clips: Clips, run: Run, settings: TrainSettings, need: Need, explain: bool) -> Outcome:
    """One training of the plan, in this process."""
    keep_freed_memory()
    torch.set_num_threads(need.threads)
    if run.split.selected_on_test:  # to stop early by these clips would choose the last epoch by them, too
        settings = replace(settings, patience=0)
    fit = LoopFit(settings.model, settings, need.device)
    kept: list[Fitted] = []

    def keeping(*arguments: Any) -> Fitted:
        kept.append(fit(*arguments))
        return kept[0]

    try:
        result = evaluate_run(clips, run, keeping)
    except EmotionRayError as error:
        return str(error)
    if not explain:
        return result, []
    shown = run.split.test[:: max(1, len(run.split.test) // EXPLAINED)][:EXPLAINED]
    kept[0].logits(shown, "best")  # puts the best epoch's weights into the model
    return result, frame_importance(kept[0].model, clips, shown)


def _side_by_side(
    clips: Clips,
    runs: Sequence[Run],
    fits: dict[str, TrainSettings],
    need: Need,
    at_once: int,
    explained: list[Run],
    console: Console,
) -> Iterator[tuple[Run, Outcome]]:
    """Trainings as Ray tasks, so many at a time, each given as it ends; the clips are one copy a machine."""
    shared = ray.put(clips)
    task = ray.remote(_trained_and_tested).options(num_cpus=need.cpus, num_gpus=need.gpus, max_retries=MAX_RETRIES)
    waiting = list(runs)
    running: dict[ray.ObjectRef, Run] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            one = waiting.pop(0)
            running[task.remote(shared, one, fits[one.model], need, one in explained)] = one
        began = time.monotonic()
        while not (ready := ray.wait(list(running), timeout=SAY_EVERY_S)[0]):
            spent = time.monotonic() - began
            console.print(f"{len(running)} trainings under way, or waiting for free CPUs or GPUs, for {spent:.0f} s")
        (ended,) = ready
        one = running.pop(ended)
        try:
            yield one, ray.get(ended)
        except ray.exceptions.RayTaskError as error:
            yield one, f"{type(error.cause).__name__} ({cause_of(error.cause):.200})"
        except ray.exceptions.RayError as error:
            yield one, f"its process died {MAX_RETRIES + 1} times ({cause_of(error):.200})"


def _first_of_each_model(runs: Sequence[Run]) -> list[Run]:
    first: dict[str, Run] = {}
    for one in runs:
        if one.labels == "true":
            first.setdefault(one.model, one)
    return list(first.values())


def _part(run: RunFolder, one: Run) -> Path:
    """The folder of what one training came to, until the report is written."""
    return Path(run.path("parts", re.sub(r"[^A-Za-z0-9._-]+", "-", str(one))))


def _write_part(folder: Path, evaluation: Evaluation, importance: Importance) -> None:
    """Writes it whole or not at all."""
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    save_evaluation(partial, evaluation)
    save_importance(partial, importance)
    partial.rename(folder)


def _in_words(result: RunResult) -> str:
    figures = {one.choice: one for one in summarise(result[0])}
    return f"UAR {figures['best'].uar.value:.1%} at the best epoch, {figures['last'].uar.value:.1%} at the last"


def _remarks(fits: dict[str, TrainSettings]) -> list[str]:
    """How each model was trained."""
    lines = []
    for name, settings in fits.items():
        sizes = getattr(settings, settings.model)
        values = {**asdict(settings), **asdict(sizes)}
        del values["model"], values["seed"]  # its name, and another than those it was trained by
        told = ", ".join(f"{key} {value}" for key, value in values.items() if not isinstance(value, dict))
        lines.append(f"{name}: {told}; augmentation {asdict(settings.augment)}.")
    return lines
