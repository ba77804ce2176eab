"""The report's pictures. Each function draws one figure; `as_svg` and `as_png` give it to a page.

Figures are narrow, so that their text can be read on a phone; a page sets them side by side where it has
room. Lines and text are drawn in `INK`, which the SVG turns into the colour of the text around it, light or
dark.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.learning.cost import Cost
from emotion_ray.learning.explain import FrameImportance
from emotion_ray.learning.summaries import Summary

INK = "#010203"  # a colour that nothing else has, to be found again in the SVG
COLOURS = ("#4c8df6", "#e8873a", "#2aa58a", "#c965b8", "#8f8f3a")  # seen on white and on near-black alike
WIDTH = 4.3  # inches
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "grid.color": INK,
    "grid.alpha": 0.12,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "emotion_ray",  # the same picture gives the same bytes
}

_styled = rc_context(_STYLE)  # a decorator: text takes its colour when it is made, not when it is drawn


@_styled
def as_svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element that scales to its place.

    Args:
        figure: made by one of the functions below.
        label: HTML-escaped already; what is read out to who can't see it.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)[0]
    body = svg[svg.index(">") + 1 :].replace(INK, "currentColor")
    return f'<svg {box} role="img" aria-label="{label}">{body}'


@_styled
def as_png(figure: Figure) -> bytes:
    """The figure as a PNG on white."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


@_styled
def name_data(figure: Figure, label: str) -> None:
    """Puts beneath a figure what data it is of: pictures are passed on without the page around them."""
    figure.supxlabel(label, x=0.99, ha="right", fontsize=6.5, alpha=0.75)


def model_colours(models: Sequence[str]) -> dict[str, str]:
    """A colour for each model, in the order in which they come."""
    return {model: COLOURS[place % len(COLOURS)] for place, model in enumerate(dict.fromkeys(models))}


@_styled
def overview(summaries: Sequence[Summary]) -> Figure:
    """UAR of each summary with its interval, chance as a line."""
    colours = model_colours([summary.model for summary in summaries])
    figure, axes = _figure(0.5 + 0.42 * len(summaries))
    for row, summary in enumerate(reversed(summaries)):
        figures, colour = summary.uar, colours[summary.model]
        if np.isfinite(figures.low):
            axes.hlines(row, figures.low, figures.high, color=colour, lw=5, alpha=0.35, capstyle="round")
        axes.plot(figures.value, row, "o", color=colour, ms=6, clip_on=False)
        name = f"{_short(summary.model, 14)}, {summary.protocol}: {summary.selection}"
        axes.text(0.14, row + 0.22, name, fontsize=7.5, va="bottom", parse_math=False, in_layout=False)
    axes.axvline(1 / 8, color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.6)
    axes.text(1 / 8, -0.62, " chance", fontsize=7.5, alpha=0.7)
    axes.set(xlim=(0, 1), ylim=(-0.75, len(summaries) - 0.25), yticks=[])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines["left"].set_visible(False)
    return figure


@_styled
def recall_by_emotion(headlines: Mapping[str, Summary]) -> Figure:
    """The recall of each emotion, a dot for each model."""
    colours = model_colours(list(headlines))
    figure, axes = _figure(3.6)
    rows = range(len(EMOTIONS))
    for model, summary in headlines.items():
        axes.plot(summary.recall, rows, "o", color=colours[model], ms=6, alpha=0.85, clip_on=False, label=_short(model))
    axes.axvline(1 / 8, color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.6)
    counts = next(iter(headlines.values())).counts
    axes.set(xlim=(0, 1), yticks=range(len(EMOTIONS)), yticklabels=_true_emotions(counts))
    axes.tick_params(axis="y", pad=8)  # room for a dot at nought
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines["left"].set_visible(False)
    _legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure


@_styled
def confusion_matrix(summary: Summary) -> Figure:
    """Rows: the true class; shade and number: the share of its clips that were called so, in percent."""
    counts = summary.counts
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = _figure(3.9)
    red, green, blue = (int(COLOURS[0][i : i + 2], 16) / 255 for i in (1, 3, 5))
    shade = np.dstack([np.full_like(shares, red), np.full_like(shares, green), np.full_like(shares, blue), shares])
    axes.imshow(shade, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if counts[row, column]:
            colour = "white" if share > 0.6 else INK
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(8), EMOTIONS, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(8), _true_emotions(counts))
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(False)
    return figure


@_styled
def learning_curves(history: Sequence[Mapping[str, Any]], model: str, protocol: str, value: str) -> Figure:
    """One model's curves by epoch: each run thin, the mean over runs thick, training beside validation.

    Args:
        history: as in `Evaluation`.
        model, protocol: which runs, with true labels.
        value: "loss" (nats) or "accuracy".
    """
    rows = [r for r in history if (r["model"], r["protocol"], r["labels"]) == (model, protocol, "true")]
    figure, axes = _figure(2.7)
    for part, name, colour in (("train", "training", COLOURS[0]), ("val", "validation", COLOURS[1])):
        key, runs = f"{part}_{value}", {}
        for row in rows:
            runs.setdefault((row["seed"], row["fold"]), []).append((row["epoch"], row[key]))
        for points in runs.values():
            axes.plot(*zip(*points, strict=True), color=colour, lw=0.7, alpha=0.35)
        epochs = sorted({row["epoch"] for row in rows})
        means = [np.mean([row[key] for row in rows if row["epoch"] == epoch]) for epoch in epochs]
        axes.plot(epochs, means, color=colour, label=name)
    chance = np.log(len(EMOTIONS)) if value == "loss" else 1 / len(EMOTIONS)
    axes.axhline(chance, color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.6, label="uniform guess")
    if value == "accuracy":
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.set_xlabel("epoch")
    axes.set_title("mean loss, nats" if value == "loss" else "accuracy")
    _legend(axes)
    return figure


@_styled
def reliability_diagram(summary: Summary) -> Figure:
    """Accuracy against stated probability, before and after temperature scaling; dots grow with clips."""
    figure, axes = _figure(3.4)
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.6, label="honest")
    for name, found, colour in (
        ("before", summary.raw, COLOURS[1]),
        ("after", summary.calibrated, COLOURS[0]),
    ):
        diagram, full = found.diagram, found.diagram.count > 0
        sizes = 12 + 160 * diagram.count[full] / diagram.count.sum()
        points = diagram.confidence[full], diagram.accuracy[full]
        axes.plot(*points, color=colour, lw=1.2, label=f"{name}: ECE {found.ece:.3f}")
        axes.scatter(*points, s=sizes, color=colour, alpha=0.7, lw=0)
    axes.set(xlim=(0, 1.03), ylim=(0, 1.03))
    axes.set(xlabel="probability of the predicted class", ylabel="accuracy")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    _legend(axes)
    return figure


@_styled
def frame_importance(importance: FrameImportance) -> Figure:
    """Eight frames of the clip; under them what hiding each frame costs, and the attention that each gets."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    strip, axes = figure.subplots(2, 1, height_ratios=(1, 2.6))
    count, size = importance.frames.shape[:2]
    shown = np.linspace(0, count - 1, 8).round().astype(int)
    strip.imshow(np.concatenate(importance.frames[shown], axis=1), aspect="auto", extent=(0, 8 * size, 0, size))
    strip.axis("off")
    places = np.arange(1, count + 1)
    axes.bar(places, 100 * importance.occlusion, width=0.9, color=COLOURS[1], alpha=0.75, lw=0)
    axes.axhline(0, color=INK, lw=0.6)
    axes.set(xlabel="frame", xlim=(0.5, count + 0.5))
    axes.set_ylabel("points lost\nwhen hidden", color=COLOURS[1], fontsize=8)
    if importance.attention is not None:
        other = axes.twinx()
        other.plot(places, 100 * importance.attention, color=COLOURS[0], lw=1.4)
        other.axhline(100 / count, color=COLOURS[0], lw=0.7, ls=(0, (2, 2)), alpha=0.8)
        other.set_ylim(bottom=0)
        other.set_ylabel("attention, %", color=COLOURS[0], fontsize=8)
        other.grid(False)
        other.spines["right"].set_visible(True)
    return figure


@_styled
def cost_by_length(costs: Mapping[str, Cost]) -> Figure:
    """Milliseconds that a clip takes in use, against its frames."""
    colours = model_colours(list(costs))
    figure, axes = _figure(2.7)
    for model, cost in costs.items():
        lengths = sorted(cost.clip_seconds)
        times = [1000 * cost.clip_seconds[length] for length in lengths]
        axes.plot(lengths, times, "o-", color=colours[model], ms=4, label=_short(model))
    axes.set(xlabel="frames a clip", ylim=(0, None), xlim=(0, None))
    axes.set_title("milliseconds a clip")
    _legend(axes)
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend(axes: Axes, **place: Any) -> None:
    for text in axes.legend(fontsize=8, **place).get_texts():
        text.set_parse_math(False)  # a model's name may hold a dollar sign


def _true_emotions(counts: np.ndarray) -> list[str]:
    """Names of the rows of a confusion matrix; a row without clips says so."""
    return [name if row.any() else f"{name} (absent)" for name, row in zip(EMOTIONS, counts, strict=True)]


def _short(name: str, longest: int = 32) -> str:
    """A long name without its middle: names of one sweep often differ at the end."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[: half - 1]}…{name[-half:]}"
