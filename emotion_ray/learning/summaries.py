"""Predictions to figures: one summary per model, protocol, choice of epoch and kind of labels."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emotion_ray.errors import EmotionRayError
from emotion_ray.learning import metrics
from emotion_ray.learning.metrics import Interval, Metric, Reliability


@dataclass(frozen=True)
class Calibration:
    """Figures that look at probabilities: mean loss in nats, ECE in 0..1, Brier in 0..2, and the diagram."""

    loss: float
    ece: float
    brier: float
    diagram: Reliability


@dataclass(frozen=True)
class Spread:
    """A figure from several seeds: mean, and standard deviation between seeds (nan for one seed)."""

    mean: float
    deviation: float


@dataclass(frozen=True, eq=False)
class Summary:
    """The figures of one model by one protocol, at one choice of epoch.

    Predictions of several seeds are pooled: where each has as many clips of each class, as by the actor protocol, the
    pooled WAR and UAR are the means over the seeds; random splits may differ by a clip of a class.

    Attributes:
        model, protocol, choice, labels: as in the predictions.
        clips: distinct clips; predictions: rows, clips times seeds for the actor protocol.
        actors: distinct actors; seeds: distinct seeds.
        war, uar, macro_f1: with 95% actor-bootstrap intervals.
        uar_seeds: mean and spread over the seeds.
        chance: what blind guesses reach on as many predictions, of which some classes may have more.
        counts: int64 [8, 8] confusion matrix, all seeds added up.
        recall, f1: float [8], nan for a class without clips.
        raw, calibrated: before and after temperature scaling.
        by_actor: for each actor its predictions, WAR and UAR.
    """

    model: str
    protocol: str
    choice: str
    labels: str
    clips: int
    predictions: int
    actors: int
    seeds: int
    war: Interval
    uar: Interval
    macro_f1: Interval
    uar_seeds: Spread
    chance: Interval
    counts: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    raw: Calibration
    calibrated: Calibration
    by_actor: dict[int, tuple[int, float, float]]

    @property
    def selection(self) -> str:
        """How the epoch was come by, in words."""
        if self.protocol == "stored":
            return "without training"
        if self.choice == "last":
            return "last epoch"
        if self.protocol == "random":
            return "best epoch, selected on the same clips"
        return "best epoch on validation actors"


def summarise(predictions: pa.Table) -> list[Summary]:
    """The summaries of all that a table of predictions holds, in the order in which they first come."""
    keys = ["protocol", "labels", "model", "choice"]
    found = predictions.group_by(keys, use_threads=False).aggregate([]).to_pylist()
    return [_summary(select(predictions, **key), **key) for key in found]


def select(predictions: pa.Table, **values: str) -> pa.Table:
    """The rows where each named column has the given value."""
    mask = None
    for name, value in values.items():
        hit = pc.equal(predictions[name], value)
        mask = hit if mask is None else pc.and_(mask, hit)
    return predictions if mask is None else predictions.filter(mask)


def difference(predictions: pa.Table, metric: Metric, model: str, other: str, protocol: str = "actor") -> Interval:
    """metric(model) - metric(other) at the best epoch, on the clips and seeds that both were tested on.

    Raises:
        EmotionRayError: the two were not tested on the same clips.
    """
    sides = []
    for name in (model, other):
        table = select(predictions, model=name, protocol=protocol, choice="best", labels="true")
        sides.append(table.sort_by([("seed", "ascending"), ("clip_id", "ascending")]))
    ours, theirs = sides
    tested = [side.select(["seed", "clip_id", "emotion"]) for side in sides]
    if not len(ours) or not tested[0].equals(tested[1]):
        raise EmotionRayError(
            f"{model} and {other} can't be compared: evaluate both on the same clips by the {protocol} protocol"
        )
    return metrics.paired_difference(
        metric, _column(ours, "emotion"), _predicted(ours), _predicted(theirs), _column(ours, "actor")
    )


def _summary(table: pa.Table, **key: str) -> Summary:
    labels, actors, seeds = (_column(table, name) for name in ("emotion", "actor", "seed"))
    logits, predicted = _matrix(table, "logits"), _predicted(table)
    temperature = _column(table, "temperature")
    counts = metrics.confusion(labels, predicted)
    per_seed, per_actor = (
        {value: metrics.confusion(labels[group == value], predicted[group == value]) for value in np.unique(group)}
        for group in (seeds, actors)
    )

    def interval(metric: Metric) -> Interval:
        return metrics.actor_bootstrap(metric, labels, predicted, actors)

    return Summary(
        **key,
        clips=len(pc.unique(table["clip_id"])),
        predictions=len(table),
        actors=len(per_actor),
        seeds=len(per_seed),
        war=interval(metrics.war),
        uar=interval(metrics.uar),
        macro_f1=interval(metrics.macro_f1),
        uar_seeds=_spread([float(metrics.uar(own)) for own in per_seed.values()]),
        chance=metrics.chance_interval(len(table), counts.sum(1).max() / len(table)),
        counts=counts,
        recall=metrics.recalls(counts),
        f1=metrics.f1s(counts),
        raw=_calibration(logits, 1.0, labels),
        calibrated=_calibration(logits, temperature, labels),
        by_actor={
            int(actor): (int(own.sum()), float(metrics.war(own)), float(metrics.uar(own)))
            for actor, own in per_actor.items()
        },
    )


def _calibration(logits: np.ndarray, temperature: float | np.ndarray, labels: np.ndarray) -> Calibration:
    probs = metrics.probabilities(logits, temperature)
    diagram = metrics.reliability(probs, labels)
    loss = metrics.mean_loss(logits / np.reshape(temperature, (-1, 1)), labels)
    return Calibration(loss, diagram.ece, metrics.brier(probs, labels), diagram)


def _spread(values: list[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"))


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def _matrix(table: pa.Table, name: str) -> np.ndarray:
    """A column of lists of 8 as float64 [N, 8]."""
    return pc.list_flatten(table[name]).to_numpy().astype(np.float64).reshape(len(table), -1)


def _predicted(table: pa.Table) -> np.ndarray:
    return _matrix(table, "logits").argmax(1)
