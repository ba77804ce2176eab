#!/usr/bin/env python
"""What early stopping costs and saves: sweeps that stop trials by ASHA, against the same sweeps without stopping.

    python benchmarks/early_stopping.py --json early_stopping.json --page results/benchmarks/early_stopping.md

For each model and each seed of the search, one sweep on Ray Tune without stopping is run, by random search on the
synthetic sample. What ASHA would have run of it is replayed from its records (see replay.py), which costs nothing: the
trials and their epochs are the same. With --really the sweep with ASHA is run as well, its figures are the ones that
count, and it is shown that its epochs are those of the other sweep to the last digit. The first ten trials of Optuna's
own search are random too.

On two cores with instructions for bfloat16 a sweep of the full sample takes about 17 minutes with --mixed-precision;
a GPU that nine trials share (--gpus-per-worker 0.11) does all of them in minutes. A sweep that has ended is kept in
--records, one under way in --scratch: a run may be cut off at any time and gone on with by the same command. Who
changes how models are trained removes both first.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Literal

import optuna
import tyro
from asked import MISS, line
from machine import facts, made_by
from recorded_sweeps import keep, kept
from replay import Recorded, drawn, replayed
from rich.console import Console
from sample_clips import sample_clips

from emotion_ray.distributed.leaderboard import Leaderboard, Row
from emotion_ray.distributed.search_space import Config
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.history import read_history
from emotion_ray.learning.resumable import History, best_epoch
from emotion_ray.learning.run_folder import run_folder
from emotion_ray.sample import planned_takes
from emotion_ray.sample.render import VERSION
from emotion_ray.settings import TuneSettings
from emotion_ray.settings.checks import default_root
from emotion_ray.walkthrough.runs import swept

Model = Literal["lstm", "attention"]

RECORDS = Path(__file__).parents[1] / "results" / "benchmarks" / "early_stopping"
MOST_POINTS = 2.0  # of validation UAR that the best trial may be worse by
MOST_EPOCHS = {"lstm": 0.40, "attention": 0.60}  # the share of epochs that may be run


@dataclass
class Options:
    """Measures what early stopping costs and saves."""

    json: Path | None = None
    """Write the figures here."""
    page: Path | None = None
    """Write them as a page of Markdown here."""
    scratch: Path = Path(default_root()) / "early_stopping"
    """Folder of the sample, its clips and the sweeps."""
    records: Path = RECORDS
    """Folder of the sweeps without stopping that have ended: those in it are not run again."""
    size: Literal["demo", "full"] = "full"
    """Of the synthetic sample."""
    models: tuple[Model, ...] = ("lstm", "attention")
    """Which classifiers."""
    seeds: int = 3
    """Searches of each: seeds 0, 1, 2 and so on."""
    trials: int = 20
    """Trials of each search, the baseline's among them."""
    epochs: int = 30
    """Epochs of a trial that is not stopped."""
    at_once: int = 2
    """Trials at a time in the sweep with ASHA."""
    recorded_at_once: int | None = None
    """The same in the sweep without stopping, where ASHA is replayed: as many as there is room for, unless given."""
    gpus_per_worker: float = 1.0
    """Of a GPU, where there is one: parts let several trials share it."""
    mixed_precision: bool = False
    """Train in bfloat16 where it is safe, which takes half the time on a CPU that has instructions for it."""
    really: bool = False
    """Run the sweeps with ASHA too, instead of replaying them alone."""


@dataclass(frozen=True)
class Comparison:
    """A sweep with ASHA beside the same one without stopping.

    Attributes:
        model, seed: of the search.
        made: with what the sweep without stopping was made, see `machine.facts`.
        full_epochs, stopped_epochs: epochs run without and with ASHA.
        replayed_epochs: as many ASHA runs by the replay; those of `stopped_epochs` unless the sweep was really run.
        full_uar, stopped_uar: 0..1, validation UAR of the best trial's best epoch, without and with ASHA.
        same_model: whether both choose the same epoch of the same trial.
        same_epochs: whether the epochs of both have the same figures; None where ASHA's are replayed.
    """

    model: Model
    seed: int
    made: dict[str, str]
    full_epochs: int
    stopped_epochs: int
    replayed_epochs: int
    full_uar: float
    stopped_uar: float
    same_model: bool
    same_epochs: bool | None

    @property
    def points(self) -> float:
        """Points of UAR that stopping lost."""
        return 100 * (self.full_uar - self.stopped_uar)

    @property
    def share(self) -> float:
        """Of the epochs, 0..1, that were run."""
        return self.stopped_epochs / self.full_epochs


def main(options: Options) -> int:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console = Console()
    root = options.scratch.expanduser().absolute() / f"{options.size}-{VERSION}"
    clips = len(planned_takes(options.size))
    found = [compare(model, seed, root, options, console) for model in options.models for seed in range(options.seeds)]
    lines = [line(met, f"{options.size}: {what}", asked, got) for met, what, asked, got in verdicts(options, found)]
    result = {
        "benchmark": "early_stopping",
        **facts(),
        "sample": VERSION,
        "data": f"synthetic sample, {options.size}: {clips} clips",
        "trials": options.trials,
        "epochs": options.epochs,
        "at_once": options.at_once,
        "form": "really run" if options.really else "replayed",
        "sweeps": [asdict(one) for one in found],
        "ratios": ratios(options, found),
        "lines": lines,
    }
    figures = json.dumps(result, indent=2) + "\n"
    for path, text in ((options.json, figures), (options.page, page(result, options, found))):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if any(text.startswith(MISS) for text in lines) else 0


def compare(model: Model, seed: int, root: Path, options: Options, console: Console) -> Comparison:
    """One search without stopping and with it."""
    trials, made = unstopped(model, seed, root, options, console)
    ran = replayed(model, options.epochs, trials, options.at_once)
    full = [trial.history for trial in trials]
    stopped = [history[:epochs] for history, epochs in zip(full, ran, strict=True)]
    same_epochs = None
    if options.really:
        stopped = [trial.history for trial in sweep(model, seed, "asha", root, options, console)]
        same_epochs = all(map(same_figures, stopped, full))
    (at, best), (at_stopped, best_stopped) = chosen(full), chosen(stopped)
    return Comparison(
        model=model,
        seed=seed,
        made=made,
        full_epochs=sum(map(len, full)),
        stopped_epochs=sum(map(len, stopped)),
        replayed_epochs=sum(ran),
        full_uar=best["val_uar"],
        stopped_uar=best_stopped["val_uar"],
        same_model=(at, best["epoch"]) == (at_stopped, best_stopped["epoch"]),
        same_epochs=same_epochs,
    )


def unstopped(
    model: Model, seed: int, root: Path, options: Options, console: Console
) -> tuple[list[Recorded], dict[str, str]]:
    """The trials of a sweep without stopping, which is run where there is no record of it, and with what it was made.

    Raises:
        EmotionRayError: the record is of another sweep.
    """
    what = {"sample": VERSION, "size": options.size, "model": model, "seed": seed, "epochs": options.epochs}
    what |= {"mixed_precision": options.mixed_precision, "trials": drawn(model, options.trials, seed)}
    path = options.records / f"{options.size}-{model}-{seed}.parquet"
    if found := kept(path, what):
        return found
    trials, made = sweep(model, seed, "none", root, options, console), facts()
    keep(path, trials, what, made)
    return trials, made


def sweep(
    model: Model, seed: int, scheduler: Literal["asha", "none"], root: Path, options: Options, console: Console
) -> list[Recorded]:
    """Runs a sweep where it has not ended yet; gives its trials."""
    sample_clips(root, options.size, console)
    settings = TuneSettings(
        root=str(root),
        run=f"{model}-{options.trials}x{options.epochs}-{scheduler}-{seed}",
        model=model,
        trials=options.trials,
        epochs=options.epochs,
        search="random",
        scheduler=scheduler,
        max_concurrent=options.at_once if options.really else options.recorded_at_once,
        gpus_per_worker=options.gpus_per_worker,
        mixed_precision=options.mixed_precision,
        seed=seed,
    )
    board = swept(settings, console)[model]
    return recorded(board, f"{run_folder(settings)}/{model}/trials", drawn(model, options.trials, seed))


def recorded(board: Leaderboard, folder: str, configs: list[Config]) -> list[Recorded]:
    """The trials of a sweep in the order in which they were drawn; a trial that failed has the epochs before.

    Raises:
        EmotionRayError: it has other trials than these.
    """
    left: list[Row] = list(board.rows)
    trials = []
    for config in configs:
        row = next((row for row in left if row.config == config), None)
        if row is None:
            raise EmotionRayError(f"the trials in {folder} are not those of this seed: remove them, or --scratch")
        left.remove(row)
        trials.append(Recorded(config, read_history(f"{folder}/{row.trial}")))
    return trials


def same_figures(some: History, all_epochs: History) -> bool:
    """Whether the epochs of a training are the first ones of another; how long they took is left aside."""
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_uar")
    pairs = zip(some, all_epochs, strict=False)
    return len(some) <= len(all_epochs) and all(one[name] == other[name] for one, other in pairs for name in names)


def chosen(histories: list[History]) -> tuple[int, dict[str, float]]:
    """The number of the best trial, and the record of its best epoch."""
    best = [(number, best_epoch(history)) for number, history in enumerate(histories) if history]
    return max(best, key=lambda one: (one[1]["val_uar"], -one[1]["val_loss"]))


def ratios(options: Options, found: list[Comparison]) -> dict[str, float]:
    """Means over the seeds, by model."""
    figures = {}
    for model in options.models:
        of_model = [one for one in found if one.model == model]
        figures[f"{model}_points_lost"] = mean(one.points for one in of_model)
        figures[f"{model}_epochs_share"] = mean(one.share for one in of_model)
    return figures


def verdicts(options: Options, found: list[Comparison]) -> list[tuple[bool, str, str, str]]:
    """Whether each thing asked is met, what was measured, what was asked and what was got."""
    figures, said = ratios(options, found), []
    over = f"mean of {options.seeds} searches of {options.trials} trials"
    for model in options.models:
        points, share, most = figures[f"{model}_points_lost"], figures[f"{model}_epochs_share"], MOST_EPOCHS[model]
        what = f"{model}: points of validation UAR that the best trial loses by early stopping, {over}"
        said.append((points <= MOST_POINTS, what, f"at most {MOST_POINTS:g}", f"{points:.2f}"))
        what = f"{model}: epochs run, by those of the sweep without stopping, {over}"
        said.append((share <= most, what, f"at most {most:.0%}", f"{share:.1%}"))
    if options.really:
        same = sum(bool(one.same_epochs) for one in found)
        what = "searches whose epochs have the same figures, to the last digit, with and without stopping"
        said.append((same == len(found), what, f"{len(found)} of {len(found)}", str(same)))
    return said


def page(result: dict, options: Options, found: list[Comparison]) -> str:
    """The figures as Markdown."""
    how = (
        "The sweeps with ASHA were run as well."
        if options.really
        else "What ASHA would have run is replayed from the records of the sweep without stopping, whose trials and "
        "epochs are the same."
    )
    flags = f"--size {options.size} --trials {options.trials} --epochs {options.epochs} --seeds {options.seeds}"
    flags += f" --at-once {options.at_once} --models {' '.join(options.models)}" + " --really" * options.really
    flags += " --mixed-precision" * options.mixed_precision
    if options.gpus_per_worker != 1:
        flags += f" --gpus-per-worker {options.gpus_per_worker:g}"
    lines = [
        "# Early stopping",
        "",
        made_by(f"early_stopping.py {flags}", result, "early_stopping"),
        "",
        f"The {result['data']}; no figure here says anything of RAVDESS or of real faces. Random search, "
        f"{options.trials} trials of {options.epochs} epochs, the baseline's settings among them (which is never "
        f"stopped), {options.at_once} trials at a time. {how} UAR is of the best trial's best epoch, on the validation "
        "clips.",
        "",
        "| model, seed | epochs without stopping | with ASHA | share | UAR without | with ASHA | the same model "
        "| run at commit, on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.model}, {one.seed} | {one.full_epochs} | {one.stopped_epochs} | {one.share:.1%} | {one.full_uar:.1%} "
        f"| {one.stopped_uar:.1%} | {'yes' if one.same_model else 'no'} "
        f"| {one.made['commit']}, {one.made['hardware']} |"
        for one in found
    ]
    lines += ["", "| what was measured | asked | got | |", "|---|---|---|---|"]
    for met, what, asked, got in verdicts(options, found):
        lines.append(f"| {what} | {asked} | {got} | {'met' if met else '**not met**'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
