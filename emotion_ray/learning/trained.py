"""From a training that has ended to a model in the store, with the figures of its test clips."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import Tensor

from emotion_ray.data.clips import Clips
from emotion_ray.data.provenance import Provenance
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.splits import Split
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.evaluate import Choice, Fitted, Run, evaluate_run
from emotion_ray.learning.history import read_checkpoint
from emotion_ray.learning.metrics import Interval
from emotion_ray.learning.predict import predict
from emotion_ray.learning.resumable import History
from emotion_ray.learning.summaries import Summary, select, summarise
from emotion_ray.models.architectures import build
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import save_model
from emotion_ray.settings import TrainSettings

_PARTS = ("train", "validation", "test")
_UNSEEN = "best epoch on validation clips, tested on others"


@dataclass(frozen=True, eq=False)
class Trained:
    """A model at the end of its training.

    Attributes:
        architecture: "lstm" or "attention".
        settings: how it was trained.
        history: the records of all epochs.
        best: the epoch that validation chose, from 1.
        weights: state dicts of the "best" and of the "last" epoch, on the CPU.
    """

    architecture: str
    settings: TrainSettings
    history: History
    best: int
    weights: Mapping[Choice, dict[str, Tensor]]

    @classmethod
    def read(cls, folder: str | Path, architecture: str, settings: TrainSettings) -> "Trained":
        """The model that a training left in its folder; see `train_resumably`.

        Raises:
            EmotionRayError: there is none, or its file is damaged.
        """
        checkpoint = read_checkpoint(folder)
        if checkpoint is None:
            raise EmotionRayError(f"{folder} holds no checkpoint of a trained model: train it again")
        best = checkpoint["best"]
        weights = {"best": best["weights"], "last": checkpoint["model"]}
        return cls(architecture, settings, checkpoint["history"], best["epoch"], weights)

    def test(self, clips: Clips, split: Split, name: str) -> pa.Table:
        """Its predictions on the split's test clips, of schema `PREDICTIONS`, under a name."""
        frames, size = clips.frames.shape[1:3]
        model = build(self.architecture, getattr(self.settings, self.architecture), frames, size, len(EMOTIONS))

        def logits(positions: np.ndarray, choice: Choice) -> np.ndarray:
            model.load_state_dict(self.weights[choice])
            return predict(model, clips.take(positions), "cpu")

        fitted = Fitted(self.history, self.best, logits)
        return evaluate_run(clips, Run(name, split, self.settings.seed), lambda *_: fitted)[0]


def store_model(
    store: str | Path, name: str, trained: Trained, clips: Clips, split: Split, data: Provenance
) -> Summary:
    """Tests the best epoch's weights on the split's test clips and puts them into the store with their card.

    Args:
        store: the store's folder, a path or URI.
        name: that the model gets.
        trained: the model.
        clips, split: what it was trained on, by which split.
        data: where the clips come from.

    Returns:
        the test's figures.

    Raises:
        EmotionRayError: the name is taken, or the store can't be written.
    """
    tested = select(trained.test(clips, split, name), choice="best")
    (summary,) = summarise(tested)
    temperature = float(tested["temperature"][0].as_py())
    save_model(store, name, trained.weights["best"], _record(trained, clips, split, data, summary, temperature))
    return summary


def _record(
    trained: Trained, clips: Clips, split: Split, data: Provenance, summary: Summary, temperature: float
) -> ModelRecord:
    frames, size = clips.frames.shape[1:3]
    support = summary.counts.sum(1).tolist()
    return ModelRecord(
        architecture=trained.architecture,
        sizes=getattr(trained.settings, trained.architecture),
        frames=frames,
        size=size,
        labels=EMOTIONS,
        prepared_with=tuple(sorted(clips.prepared_with)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=trained.settings.seed,
        training=asdict(trained.settings),
        data={
            **asdict(data),
            "clips": len(clips),
            "actors": len(np.unique(clips.actor)),
            "seen_actors": np.unique(clips.actor[np.union1d(split.train, split.validation)]).tolist(),
        },
        protocol=_protocol(split, summary),
        split={part: [clips.clip_id[place] for place in getattr(split, part)] for part in _PARTS},
        metrics={
            "war": _triple(summary.war),
            "uar": _triple(summary.uar),
            "macro_f1": _triple(summary.macro_f1),
            "loss": summary.raw.loss,
            "epoch": trained.best,
        },
        by_class={
            label: {"clips": count, "recall": float(recall), "f1": float(f1)}
            for label, count, recall, f1 in zip(EMOTIONS, support, summary.recall, summary.f1, strict=True)
        },
        by_actor={
            str(actor): {"clips": count, "war": war, "uar": uar}
            for actor, (count, war, uar) in summary.by_actor.items()
        },
        calibration={
            "temperature": temperature,
            "ece_raw": summary.raw.ece,
            "ece_calibrated": summary.calibrated.ece,
            "brier_raw": summary.raw.brier,
            "brier_calibrated": summary.calibrated.brier,
        },
    )


def _protocol(split: Split, summary: Summary) -> str:
    if split.protocol == "actor":
        return f"actor fold {split.fold + 1}: tested on actors that it has not seen; {summary.selection}"
    chosen = f"{summary.selection}, as the temperature is fitted to them" if split.selected_on_test else _UNSEEN
    return f"random split, the same actors on both sides; {chosen}"


def _triple(figure: Interval) -> list[float]:
    return [figure.value, figure.low, figure.high]
