"""The commands that make models of clips: train, tune, evaluate."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from emotion_ray.cli.output import Flat, console_for, print_json, results_of, without_talk
from emotion_ray.errors import Stopped
from emotion_ray.settings import EvaluateSettings, RunSettings, TrainRunSettings, TuneSettings, default_root


def train(settings: Flat[TrainRunSettings], json: bool = False) -> None:
    """From clips to a model in the store.

    Examples: `emotion-ray train --model attention`, `emotion-ray train --model both --workers 2 --protocol actor`.

    Args:
        settings: what to train and how.
        json: print the result as JSON.
    """
    from emotion_ray.distributed.train import train as run

    console = console_for(json)
    with _resumable("train", settings), without_talk(json):
        models = run(settings, console)
    if json:
        print_json(
            models=[
                {
                    "name": one.name,
                    "folder": one.folder,
                    "data": one.data,
                    "uar": one.summary.uar.value,
                    "war": one.summary.war.value,
                    "best_epoch": one.trained.best,
                    "epochs": len(one.trained.history),
                }
                for one in models
            ]
        )
    for one in models:
        console.print(
            f"model {one.name}: UAR {one.summary.uar.value:.1%}, WAR {one.summary.war.value:.1%} on its test clips "
            f"of {one.data}, epoch {one.trained.best}, {one.summary.selection}; in {one.folder}",
            soft_wrap=True,
        )


def tune(settings: Flat[TuneSettings], json: bool = False) -> None:
    """Searches for better settings than the baseline's.

    Examples: `emotion-ray tune --model attention --trials 40`, `emotion-ray tune --resume`.

    Args:
        settings: what to search, and for how long.
        json: print the result as JSON.
    """
    from emotion_ray.distributed.tune import tune as run

    console = console_for(json)
    with _resumable("tune", settings), without_talk(json):
        sweeps = run(settings, console)
    if json:
        print_json(sweeps=[{"model": one.model, "folder": one.folder, **one.board.as_dict()} for one in sweeps])
    for one in sweeps:
        console.print(one.board.table())
        console.print(one.board.in_words(), soft_wrap=True)
        console.print(f"model {one.model} is in the store; leaderboard and pictures: {one.folder}", soft_wrap=True)


def evaluate(settings: Flat[EvaluateSettings], json: bool = False) -> None:
    """Trains and tests models by a protocol, or tests stored ones on other data, and writes a report.

    Examples: `emotion-ray evaluate --seeds 3`, `emotion-ray evaluate --model none --tuned my-sweep --protocol actor`,
    `emotion-ray evaluate --stored my-sweep --clips crema-d/`.

    Args:
        settings: what to evaluate and how.
        json: print the result as JSON.
    """
    from emotion_ray.distributed.evaluate import evaluate as run
    from emotion_ray.learning.headlines import headline_table
    from emotion_ray.learning.summaries import summarise

    console = console_for(json)
    with _resumable("evaluate", settings), without_talk(json):
        report, evaluation = run(settings, console)
    summaries = summarise(evaluation.predictions)
    if json:
        print_json(report=str(report), data=evaluation.data.label, results=results_of(summaries))
    console.print(headline_table(summaries, evaluation.data))
    console.print(f"the report is {report}", soft_wrap=True)


@contextmanager
def _resumable(command: str, settings: RunSettings) -> Iterator[None]:
    """Tells who stops a command with Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        where = "" if settings.root == default_root() else f" --root {shlex.quote(settings.root)}"
        name = f" --run {settings.run}" if settings.run else ""
        raise Stopped(f"stopped; go on with emotion-ray {command} --resume{name}{where}") from None
