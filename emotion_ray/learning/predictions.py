"""The predictions of an evaluation and the facts about them, as one record and as files."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emotion_ray.data.storage import cause_of
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.metrics import CLASSES

PREDICTIONS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("actor", pa.int32()),
        ("emotion", pa.int8()),  # what the prediction is scored against
        ("protocol", pa.string()),  # "actor" or "random", or "stored" for a model that was tested as it is
        ("fold", pa.int16()),
        ("seed", pa.int64()),
        ("model", pa.string()),
        ("labels", pa.string()),  # "true", or "permuted" for the control, whose `emotion` is shuffled
        ("choice", pa.string()),  # "best" (by validation UAR) or "last" epoch
        ("epoch", pa.int32()),  # from 1
        ("logits", pa.list_(pa.float32(), CLASSES)),
        ("temperature", pa.float32()),  # fitted on the run's validation clips; of a stored model its own
        ("probs", pa.list_(pa.float32(), CLASSES)),  # softmax(logits / temperature)
    ]
)
"""One row per held-out clip, run and choice of epoch."""

CURVES = "curves.jsonl"
_FACTS, _TRAINED_ON = b"emotion_ray.data", b"emotion_ray.trained_on"


@dataclass(frozen=True)
class DataFacts:
    """Which clips the figures are about.

    Attributes:
        name: the data set, such as "RAVDESS", or which synthetic sample, such as "full".
        synthetic: True for the synthetic sample, whose figures say nothing about real faces.
        clips, actors: how many.
        frames: T, frames a clip.
        size: height and width of a frame in px.
        prepared_with: the clips' fingerprints, sorted.
        twins: clips whose very take is there twice, with sound and without; see `splits.count_twins`.
    """

    name: str
    synthetic: bool
    clips: int
    actors: int
    frames: int
    size: int
    prepared_with: tuple[str, ...] = ()
    twins: int = 0

    @property
    def label(self) -> str:
        """The name to show; the synthetic sample is always called that."""
        return f"synthetic sample ({self.name})" if self.synthetic else self.name


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was trained and tested.

    Attributes:
        data: which clips.
        predictions: a table of schema `PREDICTIONS`.
        history: one dict per run and epoch: the run's `model`, `protocol`, `fold`, `seed` and `labels`, and
            the epoch's record as the loop gives it.
        trained_on: for each model that was tested as it is, what it was trained on, in words.
    """

    data: DataFacts
    predictions: pa.Table
    history: list[dict[str, Any]]
    trained_on: dict[str, str] = field(default_factory=dict)


def save_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Writes `predictions.parquet` (the data's facts in its metadata) and `curves.jsonl` into a folder.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    facts = {_FACTS: json.dumps(asdict(evaluation.data)), _TRAINED_ON: json.dumps(evaluation.trained_on)}
    table = evaluation.predictions.replace_schema_metadata(facts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / "predictions.parquet", compression="zstd")
        lines = [json.dumps(row) + "\n" for row in evaluation.history]
        (folder / CURVES).write_text("".join(lines), "utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise EmotionRayError(f"can't write to {folder}: {reason}; free space or give another folder") from None


def load_evaluation(folder: Path) -> Evaluation:
    """Reads what `save_evaluation` wrote.

    Raises:
        EmotionRayError: the files are missing, damaged or of another program.
    """
    try:
        table = pq.read_table(folder / "predictions.parquet")
        metadata = table.schema.metadata or {}
        facts, trained_on = json.loads(metadata[_FACTS]), json.loads(metadata.get(_TRAINED_ON, b"{}"))
        facts["prepared_with"] = tuple(facts["prepared_with"])
        history = [json.loads(line) for line in (folder / CURVES).read_text("utf-8").splitlines()]
        return Evaluation(DataFacts(**facts), table.cast(PREDICTIONS), history, trained_on)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        problem = cause_of(error)
        raise EmotionRayError(f"no evaluation can be read from {folder} ({problem}): evaluate into it first") from None
