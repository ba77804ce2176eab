"""The table that sets the models side by side, in the five rows in which the baseline compared its two."""

import math
from collections.abc import Mapping, Sequence

from emotion_ray.learning.cost import Cost
from emotion_ray.learning.explain import WINDOW, FrameImportance, explained
from emotion_ray.learning.pages import Table
from emotion_ray.learning.summaries import Summary

UNMEASURED = "not measured in this run"
MEGABYTE = 1e6


def comparison_table(
    models: Sequence[str],
    summaries: Sequence[Summary],
    costs: Mapping[str, Cost],
    importance: Mapping[str, Sequence[FrameImportance]],
) -> Table:
    """A column for each model, a row for each of the five; what has no figures says so.

    Args:
        models: names, as in the summaries.
        summaries: with true labels.
        costs, importance: by model name.
    """
    rows = [["Accuracy"], ["Training speed"], ["Memory"], ["Cost against length"], ["Interpretability"]]
    for model in models:
        cost, frames = costs.get(model), importance.get(model)
        cells = [
            _accuracy([summary for summary in summaries if summary.model == model]),
            _speed(cost) if cost else UNMEASURED,
            _memory(cost) if cost else UNMEASURED,
            _length(cost) if cost else UNMEASURED,
            _insight(frames) if frames else UNMEASURED,
        ]
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    return Table(["", *models], rows)


def _accuracy(summaries: Sequence[Summary]) -> str:
    said = {("actor", "best"): "on unseen actors", ("random", "last"): "on the random split, last epoch"}
    shown = [(s.war.value, said[s.protocol, s.choice]) for s in summaries if (s.protocol, s.choice) in said]
    return "; ".join(f"WAR {100 * value:.1f}% {where}" for value, where in shown)


def _speed(cost: Cost) -> str:
    where = "a GPU" if cost.device.startswith("cuda") else f"a CPU, {cost.threads} threads"
    rate = cost.batch / cost.step_seconds
    return f"{cost.step_seconds:.3f} s a step of {cost.batch} clips, {rate:.1f} clips a second ({where})"


def _memory(cost: Cost) -> str:
    weights = f"{cost.parameters / 1e6:.2f} million weights, {cost.weight_bytes / MEGABYTE:.1f} MB"
    return f"{weights}; training takes {cost.peak_bytes / MEGABYTE:,.0f} MB at its peak"


def _length(cost: Cost) -> str:
    lengths = sorted(cost.clip_seconds)
    times = ", ".join(f"{1000 * cost.clip_seconds[length]:.1f} ms at {length}" for length in lengths)
    longest = lengths[-1]
    return f"A clip takes {times} frames; {cost.growth:.2f} times as long at {longest} as at {longest // 2}"


def _insight(importance: Sequence[FrameImportance]) -> str:
    found = explained(importance)
    text = (
        f"Hiding the {WINDOW} frames that matter most takes {_points(found.most)} points from the predicted "
        f"emotion, the {WINDOW} that matter least {_points(found.least)} (mean of {found.clips} clips)"
    )
    if math.isfinite(found.attended):
        frames = sum(len(one.frames) for one in importance) / len(importance)
        text += f". Attention is spread over {found.attended:.1f} of {frames:.0f} frames"
    if math.isfinite(found.agreement):
        text += f" and ranks them like hiding does with a correlation of {found.agreement:.2f}"
    return text + ("" if math.isfinite(found.attended) else ". No attention to look at")


def _points(share: float) -> str:
    """In points; adding 0 turns minus nought into nought."""
    return f"{round(100 * share, 1) + 0.0:.1f}"
