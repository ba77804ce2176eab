"""Named runs: begun where there is none, gone on with where one was cut off, shown where it is done."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from emotion_ray.data.storage import Folder
from emotion_ray.distributed.evaluate import evaluate
from emotion_ray.distributed.leaderboard import LEADERBOARD, Leaderboard, Row
from emotion_ray.distributed.train import train
from emotion_ray.distributed.tune import tune
from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.best_model import recorded_uar
from emotion_ray.learning.headlines import headline_table
from emotion_ray.learning.metrics import Interval
from emotion_ray.learning.predictions import Evaluation, load_evaluation
from emotion_ray.learning.run_folder import RECORD, run_folder
from emotion_ray.learning.run_models import architectures, names_of_models
from emotion_ray.learning.summaries import Summary, summarise
from emotion_ray.models.store import read_record
from emotion_ray.settings import EvaluateSettings, RunSettings, TrainRunSettings, TuneSettings
from emotion_ray.settings.checks import home_filled_in

Settings = TypeVar("Settings", bound=RunSettings)

WHEREABOUTS = {"root", "clips", "run", "resume"}  # settings that may be written in several ways


def left_to_do(command: str, settings: Settings) -> Settings | None:
    """The settings by which a command begins the run that they name, or goes on with it; None where it is done.

    Args:
        command: "train", "tune" or "evaluate".
        settings: of the command, with a name for the run.

    Raises:
        EmotionRayError: there is a run of this name with other settings, or of another command.
    """
    folder = Folder.at(run_folder(settings))
    if not folder.exists(RECORD):
        return settings
    record = _read(folder, RECORD)
    then, now = record.get("settings", {}), json.loads(json.dumps(asdict(settings)))
    names = [one.name for one in fields(settings) if one.name not in WHEREABOUTS]
    other = next((name for name in names if then.get(name) != now[name]), None)
    if record.get("command") != command or other:
        what = f"with {other} {then.get(other)}, not {now[other]}" if other else "by another command"
        raise EmotionRayError(f"the run in {folder.uri} was begun {what}: remove it, or give another --root")
    return None if record.get("complete") else replace(settings, resume=True)


def is_done(settings: RunSettings) -> bool:
    """Whether the run that the settings name is there and has ended."""
    folder = Folder.at(run_folder(settings))
    return folder.exists(RECORD) and bool(_read(folder, RECORD).get("complete"))


def models_of(settings: TrainRunSettings | TuneSettings) -> dict[str, str]:
    """By architecture, the name of the model that a training or a sweep puts into the store."""
    return names_of_models(settings.run, settings.model)


def trained(settings: TrainRunSettings, console: Console) -> None:
    """Trains what is not trained yet, and shows the models.

    Raises:
        EmotionRayError: as `train` and `left_to_do`.
    """
    left = left_to_do("train", settings)
    if left:
        train(left, console)
    else:
        console.print("trained before:")
    for name in models_of(settings).values():
        show_model(settings.root, name, console)


def show_model(root: str, name: str, console: Console) -> None:
    """A line on a model of the store: how good it is, on what."""
    record = read_record(f"{root}/models", name)
    console.print(f"model {name}: UAR {recorded_uar(record):.1%}, {record.protocol}", soft_wrap=True)


def swept(settings: TuneSettings, console: Console) -> dict[str, Leaderboard]:
    """Runs what is left of a sweep, and shows it.

    Returns:
        all trials, by architecture.

    Raises:
        EmotionRayError: as `tune` and `left_to_do`.
    """
    left = left_to_do("tune", settings)
    if left:
        tune(left, console)
    else:
        console.print("tuned before:")
    boards = {one: read_board(Folder.at(f"{run_folder(settings)}/{one}")) for one in architectures(settings.model)}
    for board in boards.values():
        console.print(board.table())
        console.print(board.in_words(), soft_wrap=True)
    return boards


def read_board(folder: Folder) -> Leaderboard:
    """What `Leaderboard.write` left in a folder.

    Raises:
        EmotionRayError: there is none, or it can't be read.
    """
    content = _read(folder, LEADERBOARD)
    try:
        rows = tuple(Row(**_with_nan(row)) for row in content["trials"])
        test = {
            name: {metric: Interval(**_with_nan(figure)) for metric, figure in figures.items()}
            for name, figures in content["test"].items()
        }
        names = ("architecture", "data", "epochs", "test_actors")
        return Leaderboard(rows=rows, test=test, **{name: content[name] for name in names})
    except (KeyError, TypeError, AttributeError):
        raise EmotionRayError(f"{folder.uri}/{LEADERBOARD} is of another release: give another --root") from None


def evaluated(settings: EvaluateSettings, console: Console) -> tuple[Path, Evaluation, list[Summary]]:
    """Runs what is left of an evaluation, and shows its figures.

    Returns:
        the path of the report, what is in it, and its figures.

    Raises:
        EmotionRayError: as `evaluate` and `left_to_do`.
    """
    left = left_to_do("evaluate", settings)
    if left:
        evaluate(left, console)
    else:
        console.print("evaluated before:")
    folder = home_filled_in(run_folder(settings))
    evaluation = load_evaluation(folder)
    summaries = summarise(evaluation.predictions)
    console.print(headline_table(summaries, evaluation.data))
    return folder / "report.html", evaluation, summaries


def _read(folder: Folder, name: str) -> dict[str, Any]:
    try:
        content = json.loads(folder.read(name))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise EmotionRayError(f"{folder.uri}/{name} can't be read: remove {folder.uri}, or give another --root")
    return content


def _with_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """None stands for what is not finite."""
    return {name: float("nan") if value is None else value for name, value in values.items()}
