"""The pictures of a sweep: learning curves, learning rate against UAR, and which settings mattered. No Ray in here."""

from collections.abc import Mapping

import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from optuna.importance import FanovaImportanceEvaluator

from emotion_ray.data.storage import Folder
from emotion_ray.distributed.leaderboard import Leaderboard
from emotion_ray.distributed.search_space import search_space
from emotion_ray.learning.plots import COLOURS, WIDTH, as_png
from emotion_ray.learning.resumable import History

FEWEST = 4
"""Trials below which nothing can be said of what mattered."""


def write_plots(folder: Folder, board: Leaderboard, histories: Mapping[str, History]) -> list[str]:
    """Writes the pictures as PNG and gives their names; importance needs at least four trials that came through.

    Args:
        folder: where to.
        board: of the sweep.
        histories: of each trial, by its id.
    """
    figures = {"learning_curves": learning_curves(board, histories), "learning_rate": learning_rate(board)}
    if found := importance(board):
        figures["importance"] = importance_of_settings(board, found)
    for name, figure in figures.items():
        folder.publish(f"{name}.png", as_png(figure))
    return [f"{name}.png" for name in figures]


def learning_curves(board: Leaderboard, histories: Mapping[str, History]) -> Figure:
    """Validation UAR by epoch: each trial thin, the best and the baseline thick."""
    figure, axes = _figure()
    for row in board.rows:
        history = histories[row.trial]
        points = [record["epoch"] for record in history], [record["val_uar"] for record in history]
        if row.trial == board.best.trial or row.baseline:
            name, colour = ("baseline", COLOURS[1]) if row.baseline else ("best", COLOURS[0])
            axes.plot(*points, color=colour, lw=1.8, label=name, zorder=3)
        else:
            axes.plot(*points, color="grey", lw=0.6, alpha=0.5)
    axes.set(xlabel="epoch", ylim=(0, 1))
    axes.set_title(f"{board.architecture}: validation UAR by trial\n{board.data}")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(fontsize=8)
    return figure


def learning_rate(board: Leaderboard) -> Figure:
    """Each trial's best validation UAR against its learning rate; trials that were stopped early are hollow."""
    figure, axes = _figure()
    for row in board.rows:
        if row.status != "failed":
            colour = COLOURS[1] if row.baseline else COLOURS[0]
            filled = colour if row.status == "all epochs" else "none"
            axes.plot(row.config["lr"], row.val_uar, "o", ms=5, mec=colour, mfc=filled)
    axes.set(xscale="log", xlabel="learning rate", ylim=(0, 1))
    axes.set_title(f"{board.architecture}: validation UAR (hollow: stopped early)\n{board.data}")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def importance(board: Leaderboard) -> dict[str, float]:
    """How much of the difference between trials each setting explains, shares that sum to 1, the largest first.

    By functional ANOVA: Hutter, Hoos, Leyton-Brown (2014), "An efficient approach for assessing hyperparameter
    importance", as Optuna has it. It is rough below some tens of trials. Empty for too few trials, or ones
    that are all equally good.
    """
    rows = [row for row in board.rows if row.status != "failed"]
    if len(rows) < FEWEST or len({row.val_uar for row in rows}) == 1:
        return {}
    space = search_space(board.architecture)
    study = optuna.create_study(direction="maximize")
    for row in rows:
        study.add_trial(optuna.create_trial(params=row.config, distributions=space, value=row.val_uar))
    return optuna.importance.get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def importance_of_settings(board: Leaderboard, found: Mapping[str, float]) -> Figure:
    """The ten settings that explain most of the difference between trials."""
    figure, axes = _figure()
    first = list(found.items())[:10][::-1]
    axes.barh([name for name, _ in first], [share for _, share in first], color=COLOURS[0])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_title(f"{board.architecture}: share of the difference in UAR between trials\n{board.data}")
    return figure


def _figure() -> tuple:
    figure = Figure(figsize=(1.4 * WIDTH, 0.9 * WIDTH), layout="constrained")
    return figure, figure.add_subplot()
