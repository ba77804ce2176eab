"""The report of an evaluation: what was measured, on which clips, by which protocol."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from emotion_ray.errors import EmotionRayError
from emotion_ray.learning import plots, sections
from emotion_ray.learning.comparison import comparison_table
from emotion_ray.learning.cost import Cost
from emotion_ray.learning.explain import FrameImportance
from emotion_ray.learning.headlines import is_headline
from emotion_ray.learning.pages import (
    Block,
    Document,
    Gallery,
    Picture,
    Points,
    Section,
    Table,
    Text,
    Tiles,
    to_html,
    to_markdown,
)
from emotion_ray.learning.predictions import DataFacts, Evaluation, save_evaluation
from emotion_ray.learning.summaries import Summary, summarise
from emotion_ray.models.record import versions

PUBLISHED = (
    ("LSTM", "97%", "80%", "0.198", "0.663"),
    ("attention", "88%", "73%", "0.312", "0.947"),
)
"""The baseline's own figures at epoch 30; its losses, sums over 60 and 15 batches, are means here. From the README of
https://github.com/TheGasp/Emotion-Analysis-via-Deep-Learning-on-Facial-Videos at commit d819ddd."""


def write_report(
    folder: Path,
    evaluation: Evaluation,
    title: str,
    costs: Mapping[str, Cost] | None = None,
    importance: Mapping[str, Sequence[FrameImportance]] | None = None,
    remarks: Sequence[str] = (),
    cautions: Sequence[str] = (),
) -> Path:
    """Writes `report.html`, `report.md` with its PNGs, `predictions.parquet` and `curves.jsonl`.

    Args:
        folder: the run's; made if need be.
        evaluation: what was predicted.
        title: heads the page.
        costs: for each model's name what it costs; without them those cells say so.
        importance: for each model's name the frames of some clips, for pictures and the comparison.
        remarks: lines on how it was done, such as settings and machine.
        cautions: what more keeps the figures from being taken at their word.

    Returns:
        the path of `report.html`.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    document = make_document(evaluation, title, costs or {}, importance or {}, remarks, cautions)
    save_evaluation(folder, evaluation)
    text, pictures = to_markdown(document)
    try:
        for name, png in pictures.items():
            (folder / name).write_bytes(png)
        (folder / "report.md").write_text(text, "utf-8")
        page = folder / "report.html"
        page.write_text(to_html(document), "utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise EmotionRayError(f"can't write to {folder}: {reason}; free space or give another folder") from None
    return page


def make_document(
    evaluation: Evaluation,
    title: str,
    costs: Mapping[str, Cost],
    importance: Mapping[str, Sequence[FrameImportance]],
    remarks: Sequence[str],
    cautions: Sequence[str] = (),
) -> Document:
    """The report's content, before it is written in any form; see `write_report`."""
    everything = summarise(evaluation.predictions)
    summaries = [s for s in everything if s.labels == "true"]
    summaries.sort(key=lambda s: (s.protocol, s.choice))  # actor before random, best before last
    controls = [s for s in everything if s.labels == "permuted" and is_headline(s)]
    models = list(dict.fromkeys(s.model for s in everything))
    headlines = {model: _headline(summaries, model) for model in models}
    parts = [
        Section(
            "Results",
            [
                *sections.results(evaluation, summaries, controls, headlines),
                *(Text(caution, warning=True) for caution in cautions),
            ],
        ),
        Section("By emotion", sections.by_class(headlines)),
        Section("By actor", sections.by_actor(headlines)),
        Section("What is taken for what", [Gallery(sections.confusions(summaries))]),
        Section("Calibration", sections.calibration(headlines)),
        *([] if evaluation.trained_on else _of_trainings(evaluation, summaries, headlines, costs, importance)),
        Section("How it was done", [Points([*_conventions(evaluation), *remarks, _versions()])]),
        Section("What it is for, and what not", [Points(_RESPONSIBLE_USE)]),
    ]
    shown = [part for part in parts if part.blocks]
    for gallery in (block for part in shown for block in part.blocks if isinstance(block, Gallery)):
        for picture in gallery.pictures:
            plots.name_data(picture.figure, evaluation.data.label)
    lead = [*_lead(summaries), *sections.as_stored(evaluation)]
    return Document(f"{title}: {evaluation.data.label}", _banner(evaluation.data), lead, shown)


def _of_trainings(
    evaluation: Evaluation,
    summaries: Sequence[Summary],
    headlines: Mapping[str, Summary],
    costs: Mapping[str, Cost],
    importance: Mapping[str, Sequence[FrameImportance]],
) -> list[Section]:
    """What there is to say of models that were trained for this evaluation."""
    return [
        Section("Learning curves", [Gallery(sections.curves(evaluation, summaries))]),
        Section("Which frames count", sections.frames(importance)),
        Section("The models compared", _compared(headlines, summaries, costs, importance)),
        Section("The baseline's published figures", _published(evaluation.data)),
    ]


def _banner(data: DataFacts) -> Text:
    actors = "1 actor" if data.actors == 1 else f"{data.actors} actors"
    counts = f"{data.clips} clips of {actors}, {data.frames} frames of {data.size}x{data.size} px."
    if data.synthetic:
        return Text(
            f"Data: {data.label}. {counts} These are warped pictures of one portrait, made to try the "
            "program out; the figures say nothing about real faces and are no RAVDESS results.",
            warning=True,
        )
    return Text(f"Data: {data.label}. {counts}")


def _headline(summaries: Sequence[Summary], model: str) -> Summary:
    """The figures to go by: on unseen actors, else the last epoch of the random split."""
    return next(s for s in summaries if s.model == model and is_headline(s))


def _lead(summaries: Sequence[Summary]) -> list[Block]:
    tiles = []
    for summary in filter(is_headline, summaries):
        remark = f"95% interval {sections.span(summary.uar)}. " if math.isfinite(summary.uar.low) else ""
        remark += "The same actors on both sides." if summary.protocol == "random" else "Chance 12.5%."
        what = f"{summary.model}, {sections.PROTOCOL_NAMES[summary.protocol]}, UAR"
        tiles.append((what, sections.percent(summary.uar.value), remark))
    return [Tiles(tiles)]


def _compared(
    headlines: Mapping[str, Summary],
    summaries: Sequence[Summary],
    costs: Mapping[str, Cost],
    importance: Mapping[str, Sequence[FrameImportance]],
) -> list[Block]:
    blocks: list[Block] = [comparison_table(list(headlines), summaries, costs, importance)]
    if costs:
        caption = "Time of one clip's forward pass against its frames."
        picture = Picture("cost", caption, plots.cost_by_length(costs))
        blocks.append(Gallery([picture]))
    return blocks


def _published(data: DataFacts) -> list[Block]:
    caption = (
        "RAVDESS, 10 actors, 600 clips with sound, one stratified random split (480 to train, 120 to "
        "validate), the same actors on both sides, epoch 30, one run without a seed; losses turned from "
        "sums over batches into means. From the README of github.com/TheGasp/"
        "Emotion-Analysis-via-Deep-Learning-on-Facial-Videos at commit d819ddd."
    )
    columns = ["model", "training accuracy", "validation accuracy", "training loss", "validation loss"]
    if data.synthetic:
        text = "This page's own figures are of the synthetic sample: the two can't be compared."
    else:
        text = "They compare with the last epoch of a random split of the same actors, not with unseen actors."
    return [Table(columns, PUBLISHED, caption), Text(text, warning=data.synthetic)]


_STORED = ["Tested as it is: a stored model predicts all clips; nothing is trained, chosen or fitted on them."]
_SPLITS = {
    "random": "Random split: stratified, 80% to train, 20% to validate and test.",
    "actor": "Unseen actors: each fold of actors is tested once, another fold validates, the others train.",
}


def _trained(evaluation: Evaluation) -> list[str]:
    """How the models were trained and tested, of all that was done."""
    done = {name: evaluation.predictions[name].unique().to_pylist() for name in ("protocol", "labels", "seed")}
    lines = [text for protocol, text in _SPLITS.items() if protocol in done["protocol"]]
    lines.append("The best epoch has the highest validation UAR; among equals the lowest validation loss.")
    if "permuted" in done["labels"]:
        lines.append("Control: trained and scored on labels that were shuffled over all clips.")
    seeds = ", ".join(map(str, sorted(done["seed"])))
    return [*lines, f"Seeds, of splits and trainings: {seeds}."]


def _conventions(evaluation: Evaluation) -> list[str]:
    return [
        *(_STORED if evaluation.trained_on else _trained(evaluation)),
        "WAR is accuracy. UAR is the mean recall and macro-F1 the mean F1 of the emotions that have clips. "
        "Mean loss is cross-entropy in nats over clips.",
        "ECE: 15 bins of equal width by the probability of the predicted emotion. Brier: the sum over "
        "emotions of squared errors, 0 to 2. The temperature minimises the loss on validation clips of the training.",
        "Intervals: actors drawn anew 2,000 times with all of their clips, 2.5th to 97.5th percentile. "
        "They say how figures vary with the actors recorded, not with training anew: for that, see the "
        "seeds.",
        "Blind guesses: binomial, central 95%, the lower end with one in eight, the upper one with the share of the "
        "commonest emotion, which a model that has learnt nothing may always name.",
        f"Clips prepared with {', '.join(evaluation.data.prepared_with) or 'unknown settings'}.",
    ]


def _versions() -> str:
    return "Versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()) + "."


_RESPONSIBLE_USE = (
    "A label says that an expression resembles acted ones of that name. It does not say what a person feels.",
    "RAVDESS is acted, frontal and clean: two sentences, 24 North American actors. Other people, cameras, "
    "light and spontaneous faces are another matter, and no figure here is about them.",
    "In the European Union, inferring people's emotions at work or in education is banned, medical and "
    "safety uses excepted (AI Act, article 5(1)(f), since 2 February 2025), and people must be told where "
    "such a system is used on them (article 50(3), since 2 August 2026).",
    "Weights trained on RAVDESS inherit its licence, CC BY-NC-SA 4.0: no commercial use.",
)
