"""The model card: what a model is for, what it is not for, and how good it is, from its record."""

from collections.abc import Mapping, Sequence
from typing import Any

from emotion_ray.models.record import ModelRecord

INTENDED_USE = """\
It tells which of a few acted facial expressions a face in a video resembles most. It is for research, for
teaching and for trying out video classification, on faces seen from the front in good light."""

NOT_INTENDED = """\
- It does not know what a person feels. Its output means "this expression resembles ...", no more.
- It must not decide anything about people, such as hiring, marks, credit, insurance, policing or health.
- The EU AI Act forbids inferring emotions at work and in education, except for medical and safety uses
  (Art. 5(1)(f), since 2 February 2025), and requires that people whose emotions are inferred be told
  (Art. 50(3), since 2 August 2026)."""

RAVDESS_LIMITS = """\
RAVDESS's expressions are acted: 24 North American actors speaking two sentences, filmed from the front in
even light before a white background. Other people, ages, cultures, languages and cameras, and expressions that are
not acted, are outside of what it was trained on."""

SYNTHETIC_LIMITS = """\
**It was trained on a synthetic sample**, rendered from one portrait by warping it. The figures below say
nothing of how well it works on people; it is there to try the programs with."""


FEW_ACTORS = 10  # fewer clusters than this, and a bootstrap over them is rough, its interval rather too narrow


def model_card(name: str, record: ModelRecord) -> str:
    """The text of `MODEL_CARD.md`; what was not measured says so."""
    data = record.data
    licence = str(data.get("licence") or "not stated")
    inherits = " Weights trained on it inherit its terms: no commercial use." if "NC" in licence else ""
    settings = {"architecture": record.architecture, **vars(record.sizes), "seed": record.seed}
    parts = [
        f"# {name}",
        f"A classifier of video ({record.architecture}). It sorts clips of {record.frames} frames of "
        f"{record.size}x{record.size} px, each a crop of the same face, into {len(record.labels)} classes: "
        f"{', '.join(record.labels)}. Made {record.created or 'on an unknown day'}.",
        "## What it is for",
        INTENDED_USE,
        "## What it is not for",
        NOT_INTENDED,
        "## Data and licence",
        f"{record.data_label[0].upper()}{record.data_label[1:]}: {data.get('clips', 'an unknown number of')} clips of "
        f"{data.get('actors', 'an unknown number of')} actors. Licence: {licence}.{inherits}",
        _limits(data),
        _split_sizes(record.split),
        "## How good it is",
        f"Protocol: {record.protocol or 'not stated'}. UAR of a blind guess: {1 / len(record.labels):.3f}.",
        _table(["figure", "value"], [[key, _figure(value)] for key, value in record.metrics.items()]),
        _caution(len(record.by_actor)),
        "### By class",
        _figures("class", record.by_class),
        "### By actor",
        _figures("actor", record.by_actor),
        "### Calibration",
        _table(["figure", "value"], [[key, _figure(value)] for key, value in record.calibration.items()]),
        "## How it was made",
        _table(["setting", "value"], [[key, value] for key, value in settings.items()]),
        f"Clips prepared with: {', '.join(record.prepared_with) or 'unknown'}. All training settings and the "
        "clips of each part of the split are in `model.json`.",
        _table(["package", "version"], [[key, value] for key, value in record.versions.items()]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _caution(actors: int) -> str:
    if not 1 < actors < FEW_ACTORS:
        return ""
    return f"The intervals are over {actors} actors: rough, and rather too narrow."


def _limits(data: Mapping[str, Any]) -> str:
    if data.get("synthetic"):
        return SYNTHETIC_LIMITS
    return RAVDESS_LIMITS if "RAVDESS" in str(data.get("name")) else ""


def _split_sizes(split: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{part}: {len(clip_ids)} clips" for part, clip_ids in split.items())


def _figures(kind: str, by_name: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(column for figures in by_name.values() for column in figures))
    rows = [[name, *(_figure(figures.get(column)) for column in columns)] for name, figures in by_name.items()]
    return _table([kind, *columns], rows)


def _figure(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) == 3:
        return f"{_figure(value[0])} (95% interval {_figure(value[1])} to {_figure(value[2])})"
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table, or a note that nothing was measured."""
    if not rows:
        return "Not measured."
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", r"\|").replace("<", "&lt;").split())
