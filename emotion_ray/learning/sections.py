"""The report's sections that show figures: text, tables and pictures made from summaries."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.learning import metrics, plots
from emotion_ray.learning.explain import FrameImportance
from emotion_ray.learning.headlines import PROTOCOL_NAMES, is_headline
from emotion_ray.learning.metrics import Interval
from emotion_ray.learning.pages import Block, Gallery, Picture, Share, Table, Text
from emotion_ray.learning.predictions import Evaluation
from emotion_ray.learning.summaries import Summary, difference
from emotion_ray.models.card import FEW_ACTORS

_READING = {
    "actor": "“Unseen actors” is the figure to go by: each clip was tested by a model that met its actor "
    "neither in training nor in the choice of the epoch.",
    "random": "The random split has the same actors on both sides and reads higher than new faces would; its "
    "best epoch is selected on the very clips it is shown for.",
    "stored": "Each model was tested as it is: nothing was trained, chosen or fitted on these clips.",
}
_BRACKETS = " In brackets: 95% intervals over actors, and for blind guesses the central 95%."
_BRACKETS_OF_ONE_ACTOR = " In brackets: what the central 95% of blind guesses reach."


def results(
    evaluation: Evaluation,
    summaries: Sequence[Summary],
    controls: Sequence[Summary],
    headlines: Mapping[str, Summary],
) -> list[Block]:
    """All figures with intervals, chance beside them, what is wrong with them, and how the models differ.

    Args:
        evaluation: the summaries are of this one.
        summaries: with true labels, in the order in which to show them.
        controls: with permuted labels.
        headlines: each model's figures to go by, in the order of the models.
    """
    rows = [_result_row(summary, summary.selection) for summary in summaries]
    rows += [_result_row(summary, f"{summary.selection}; control: labels permuted") for summary in controls]
    chances = {one.predictions: one.chance for one in [*summaries, *controls]}
    for count in sorted(chances, reverse=True):
        rows.append(["blind guesses", f"{count} predictions", "12.5", chances[count].percent(), "", "", ""])
    columns = ["model", "tested on", "UAR, %", "WAR, %", "macro-F1, %", "mean loss", "UAR by seed, %"]
    strong = [row for row, s in enumerate(summaries) if (s.protocol, s.choice) == ("actor", "best")]
    protocols = {summary.protocol for summary in summaries}
    brackets = _BRACKETS if evaluation.data.actors > 1 else _BRACKETS_OF_ONE_ACTOR
    overview = Picture("overview", "UAR; bars are 95% intervals, the dashed line is chance.", plots.overview(summaries))
    recall = Picture("recall", f"Recall of each emotion. {_which(headlines)}", plots.recall_by_emotion(headlines))
    return [
        Text(" ".join(_READING[protocol] for protocol in PROTOCOL_NAMES if protocol in protocols) + brackets),
        Gallery([overview, recall]),
        Table(columns, rows, strong=strong),
        *_warnings(evaluation, summaries, controls),
        *_differences(evaluation, summaries, list(headlines)),
    ]


def _warnings(evaluation: Evaluation, summaries: Sequence[Summary], controls: Sequence[Summary]) -> list[Block]:
    """What keeps the figures from being taken at their word."""
    found = []
    if all(s.protocol == "random" for s in summaries):
        found.append("Nothing here says how the models do on faces they have not met: add the actor protocol for that.")
    found += [
        f"With permuted labels {control.model} reaches {percent(control.war.value)}, outside what blind "
        f"guesses reach ({span(control.chance)}): look for leakage before trusting these figures."
        for control in controls
        if not control.chance.low <= control.war.value <= control.chance.high
    ]
    data = evaluation.data
    present = summaries[0].counts.sum(1) > 0
    if not present.all():
        found.append(
            f"There are no clips of {', '.join(np.array(EMOTIONS)[~present])}. UAR and macro-F1 are means over the "
            f"{present.sum()} emotions that are there: who always says one of them reaches a UAR of "
            f"{percent(1 / present.sum())}."
        )
    if data.twins and any(s.protocol == "random" for s in summaries):
        found.append(
            f"{data.twins} clips are there with sound and without, as the same pictures: on the random "
            "split most of them were tested on what was trained on."
        )
    if data.actors == 1:
        found.append("All clips are of one actor, so there are no intervals over actors.")
    elif data.actors < FEW_ACTORS:
        found.append(f"An interval from {data.actors} actors is rough, and rather too narrow.")
    return [Text(text, warning=True) for text in found]


def as_stored(evaluation: Evaluation) -> list[Block]:
    """On what each model that was tested as it is was trained; nothing for models trained in the evaluation."""
    return [
        Text(f"{model}: tested as it is on {evaluation.data.label}, {training}.")
        for model, training in evaluation.trained_on.items()
    ]


def _result_row(summary: Summary, epoch: str) -> list[str]:
    spread = summary.uar_seeds
    seeds = f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f} ({summary.seeds})" if summary.seeds > 1 else ""
    figures = [figure.percent() for figure in (summary.uar, summary.war, summary.macro_f1)]
    tested = f"{PROTOCOL_NAMES[summary.protocol]}, {epoch}"
    return [summary.model, tested, *figures, f"{summary.raw.loss:.3f}", seeds]


def _differences(evaluation: Evaluation, summaries: Sequence[Summary], models: Sequence[str]) -> list[Block]:
    """Each further model against the first, on unseen actors."""
    tested = [s.model for s in summaries if (s.protocol, s.choice) == ("actor", "best")]
    if len(tested) < 2:
        return []
    first, *others = [model for model in models if model in tested]
    rows = []
    for other in others:
        gains = [difference(evaluation.predictions, metric, other, first) for metric in (metrics.uar, metrics.war)]
        rows.append([f"{other} minus {first}", *(gain.percent(signed=True) for gain in gains)])
    caption = (
        "Differences on the same clips of unseen actors, in points, with paired 95% intervals over actors; "
        "one that holds 0 shows no difference."
    )
    return [Table(["models", "UAR", "WAR"], rows, caption)]


def by_class(headlines: Mapping[str, Summary]) -> list[Block]:
    """Recall and F1 of each emotion, for each model's headline figures."""
    counts = next(iter(headlines.values())).counts.sum(1)
    columns, rows = (
        ["emotion", "clips"],
        [[name, str(count)] for name, count in zip(EMOTIONS, counts, strict=True)],
    )
    for model, summary in headlines.items():
        columns += [f"{model}: recall", f"{model}: F1"]
        for row, count, recall, f1 in zip(rows, counts, summary.recall, summary.f1, strict=True):
            row += [Share(recall), Share(f1)] if count else ["absent", "absent"]
    return [Table(columns, rows, _which(headlines))]


def by_actor(headlines: Mapping[str, Summary]) -> list[Block]:
    """WAR and UAR of each actor, for each model's headline figures."""
    first = next(iter(headlines.values()))
    columns = ["actor", "clips"]
    rows = [[f"{actor:02d}", str(count)] for actor, (count, _, _) in first.by_actor.items()]
    for model, summary in headlines.items():
        columns += [f"{model}: WAR", f"{model}: UAR"]
        for row, (_, war, uar) in zip(rows, summary.by_actor.values(), strict=True):
            row += [Share(war), Share(uar)]
    return [Table(columns, rows, _which(headlines))]


def _which(headlines: Mapping[str, Summary]) -> str:
    """Which of all figures the headlines are; the same for every model of an evaluation."""
    first = next(iter(headlines.values()))
    text = f"{PROTOCOL_NAMES[first.protocol]}, {first.selection}.".capitalize()
    return text if first.seeds == 1 else f"{text} Clips are counted once for each of {first.seeds} seeds."


def confusions(summaries: Sequence[Summary]) -> list[Picture]:
    """A confusion matrix for each model and protocol."""
    pictures = []
    for place, summary in enumerate(s for s in summaries if is_headline(s)):
        caption = (
            f"{summary.model}, {PROTOCOL_NAMES[summary.protocol]}, {summary.selection}: of the clips of each "
            "emotion (row), the percentage that was called each emotion (column)."
        )
        pictures.append(Picture(f"confusion-{place + 1}", caption, plots.confusion_matrix(summary)))
    return pictures


def calibration(headlines: Mapping[str, Summary]) -> list[Block]:
    """Loss, ECE and Brier score before and after temperature scaling, with the reliability diagrams."""
    rows = []
    for model, summary in headlines.items():
        scaled = "temperature of its training" if summary.protocol == "stored" else "temperature fitted"
        for name, found in (("as trained", summary.raw), (scaled, summary.calibrated)):
            rows.append([model, name, f"{found.loss:.3f}", f"{found.ece:.3f}", f"{found.brier:.3f}"])
    rows.append(["uniform guess", "", f"{math.log(len(EMOTIONS)):.3f}", "", f"{1 - 1 / len(EMOTIONS):.3f}"])
    pictures = [
        Picture(
            f"calibration-{place}",
            f"{model}: how often a prediction of a given probability is right; on the dashed line as often as said.",
            plots.reliability_diagram(summary),
        )
        for place, (model, summary) in enumerate(headlines.items(), 1)
    ]
    fitted = "on validation clips"
    if any(summary.protocol == "stored" for summary in headlines.values()):
        fitted += " of the model's own training, not on these"
    if any(summary.protocol == "random" for summary in headlines.values()):
        fitted += " (on the random split those are the clips tested on)"
    caption = f"{_which(headlines)} Less is better in every column; the temperature is fitted {fitted}."
    return [
        Table(["model", "probabilities", "mean loss, nats", "ECE", "Brier"], rows, caption),
        Gallery(pictures),
    ]


def curves(evaluation: Evaluation, summaries: Sequence[Summary]) -> list[Picture]:
    """Loss and accuracy by epoch, for each model and protocol."""
    pictures = []
    for model, protocol in dict.fromkeys((s.model, s.protocol) for s in summaries):
        for value in ("loss", "accuracy"):
            figure = plots.learning_curves(evaluation.history, model, protocol, value)
            what = f"{model}, {PROTOCOL_NAMES[protocol]}: {value} by epoch"
            caption = f"{what}, thin for each run, thick for the mean."
            pictures.append(Picture(f"curves-{len(pictures) + 1}", caption, figure))
    return pictures


def frames(importance: Mapping[str, Sequence[FrameImportance]]) -> list[Block]:
    """What each frame of some clips means to each model; nothing where none was looked at."""
    pictures = []
    for model, found in importance.items():
        for one in found:
            caption = (
                f"{model}, clip {one.clip_id}: {EMOTIONS[one.emotion]}, called {EMOTIONS[one.predicted]} "
                f"({one.probability:.0%})."
            )
            pictures.append(Picture(f"frames-{len(pictures) + 1}", caption, plots.frame_importance(one)))
    if not pictures:
        return []
    explanation = (
        "Orange: the points of probability lost when a frame and its neighbours are hidden. Blue: the "
        "attention that each frame gets, and dashed what it would get if all got the same. A hidden frame "
        "is replaced by the mean picture of its clip: the face stays and the motion goes. Attention says "
        "where a model looks, hiding says what its answer rests on; they need not agree."
    )
    return [Text(explanation), Gallery(pictures)]


def percent(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.1f}%"


def span(interval: Interval) -> str:
    """An interval of shares in percent."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}%"
