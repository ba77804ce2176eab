"""How good predictions are, with the conventions of each figure stated.

Everything that is made of right and wrong answers is a function of the confusion matrix and takes a stack of
them, so that 2,000 bootstrap resamples cost one matrix product; scikit-learn's functions, which take one set
of answers at a time, give the same figures. Logits are float [N, C], labels int [N] in 0..C-1, C = 8.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax
from scipy.stats import binom
from sklearn.metrics import confusion_matrix

from emotion_ray.data.ravdess import EMOTIONS

CLASSES = len(EMOTIONS)
RESAMPLES = 2000
LEVEL = 0.95
ECE_BINS = 15


def confusion(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Counts, int64 [C, C]: row = true class, column = predicted class."""
    return confusion_matrix(labels, predicted, labels=np.arange(CLASSES))


def recalls(counts: np.ndarray) -> np.ndarray:
    """Per-class recall, float [..., C] in 0..1, from counts [..., C, C]; nan for a class with no clips."""
    return _divide(_hits(counts), counts.sum(-1))


def f1s(counts: np.ndarray) -> np.ndarray:
    """Per-class F1 = 2 TP / (2 TP + FP + FN), float [..., C] in 0..1; nan for a class with no clips."""
    support = counts.sum(-1)
    scores = _divide(2 * _hits(counts), support + counts.sum(-2))
    return np.where(support > 0, scores, np.nan)


def war(counts: np.ndarray) -> np.ndarray:
    """Weighted average recall, float [...]: recalls weighted by class size, which is the accuracy."""
    return _divide(_hits(counts).sum(-1), counts.sum((-2, -1)))


def uar(counts: np.ndarray) -> np.ndarray:
    """Unweighted average recall, float [...]: the mean recall of the classes that have clips.

    Also called balanced accuracy. Guessing without looking gives 1/C whatever the guess, which is not so of
    WAR where classes differ in size.
    """
    return _mean(recalls(counts))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """The mean F1 of the classes that have clips, float [...]; one that is never predicted counts as 0."""
    return _mean(f1s(counts))


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy in nats, over clips (not a sum over batches); ln 8 = 2.08 for a uniform guess."""
    return float(-log_softmax(np.asarray(logits, np.float64), axis=1)[np.arange(len(labels)), labels].mean())


def probabilities(logits: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """softmax(logits / temperature), float64 [N, C]; the temperature is one number or one per clip [N]."""
    return softmax(np.asarray(logits, np.float64) / np.reshape(temperature, (-1, 1)), axis=1)


def brier(probs: np.ndarray, labels: np.ndarray) -> float:
    """Multi-class Brier score: the mean over clips of the sum over classes of (p - truth)^2, in 0..2.

    Brier (1950), "Verification of forecasts expressed in terms of probability". Uniform guesses give 1 - 1/C.
    """
    truth = np.eye(probs.shape[1])[labels]
    return float(((probs - truth) ** 2).sum(1).mean())


@dataclass(frozen=True, eq=False)
class Reliability:
    """Clips by the probability of their predicted class, in B bins of equal width over 0..1.

    Attributes:
        count: int [B].
        confidence: float [B], mean probability of the predicted class; nan in an empty bin.
        accuracy: float [B], share of right predictions; nan in an empty bin.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: mean |accuracy - confidence|, weighted by the bins' counts, in 0..1."""
        gaps = np.abs(np.nan_to_num(self.accuracy - self.confidence))
        return float((gaps * self.count).sum() / self.count.sum())


def reliability(probs: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> Reliability:
    """The reliability diagram of the predicted class, and from it the ECE.

    Bins are (low, high]: Guo, Pleiss, Sun, Weinberger (2017), "On calibration of modern neural networks".

    Args:
        probs: float [N, C], rows that sum to 1.
        labels: int [N].
        bins: how many of equal width.
    """
    confidence, right = probs.max(1), probs.argmax(1) == labels
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    mean_confidence = _divide(np.bincount(which, confidence, bins), count)
    return Reliability(count, mean_confidence, _divide(np.bincount(which, right, bins), count))


@dataclass(frozen=True)
class Interval:
    """A figure and its 95% interval; `low` and `high` are nan where there is none to be had."""

    value: float
    low: float
    high: float

    def percent(self, signed: bool = False) -> str:
        """In percent, the interval in brackets where there is one."""
        sign = "+" if signed else ""
        value, low, high = (f"{100 * x:{sign}.1f}" for x in (self.value, self.low, self.high))
        return value if math.isnan(self.low) else f"{value} [{low}, {high}]"


Metric = Callable[[np.ndarray], np.ndarray]


def actor_bootstrap(
    metric: Metric,
    labels: np.ndarray,
    predicted: np.ndarray,
    actors: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A metric with its 95% percentile interval over actors drawn anew, each with all of their clips.

    Clips of one actor resemble each other, so drawing clips one by one would give too narrow an interval
    (cluster bootstrap: Field and Welsh, 2007, "Bootstrapping clustered data"). It says how the figure varies
    with the actors that happened to be recorded, for the models as they were trained. Below about ten actors
    it is rough and rather too narrow; of one actor there is none.

    Args:
        metric: of counts [..., C, C], such as `war`, `uar`, `macro_f1`.
        labels, predicted, actors: int [N]; clips may come more than once, from several seeds.
        resamples: how many times actors are drawn.
        seed: of the draw.
    """
    counts, drawn = _per_actor(labels, predicted, actors), _draws(actors, resamples, seed)
    return _percentiles(metric(counts.sum(0)), metric(_recount(drawn, counts)), len(counts))


def paired_difference(
    metric: Metric,
    labels: np.ndarray,
    predicted: np.ndarray,
    other: np.ndarray,
    actors: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """metric(predicted) - metric(other) on the same clips, with the interval of `actor_bootstrap`.

    Both sides see the same actors in each resample, so what makes an actor easy or hard for both cancels out.

    Args:
        metric: of counts [..., C, C].
        labels, predicted, other, actors: int [N], row i of each of the same clip (and seed).
        resamples: how many times actors are drawn.
        seed: of the draw.
    """
    drawn = _draws(actors, resamples, seed)
    ours, theirs = (_per_actor(labels, guess, actors) for guess in (predicted, other))
    value = metric(ours.sum(0)) - metric(theirs.sum(0))
    return _percentiles(value, metric(_recount(drawn, ours)) - metric(_recount(drawn, theirs)), len(ours))


def chance_interval(clips: int, commonest: float = 1 / CLASSES) -> Interval:
    """Chance, 1 in 8, and the central 95% of the accuracies that blind guesses reach on so many clips (binomial).

    Args:
        clips: that are guessed.
        commonest: the share, 0..1, of the commonest class. Who always names it is as blind, and is right so often.
    """
    chance = 1 / CLASSES
    low, high = (binom.interval(LEVEL, clips, share)[end] for end, share in enumerate((chance, max(chance, commonest))))
    return Interval(chance, float(low) / clips, float(high) / clips)


def _per_actor(labels: np.ndarray, predicted: np.ndarray, actors: np.ndarray) -> np.ndarray:
    """Counts of each actor, int64 [A, C, C], actors ascending."""
    return np.stack([confusion(labels[actors == a], predicted[actors == a]) for a in np.unique(actors)])


def _draws(actors: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each of A actors is drawn when A are drawn with replacement, int64 [resamples, A]."""
    count = len(np.unique(actors))
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def _recount(drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.tensordot(drawn, counts, axes=1)


def _percentiles(value: np.ndarray, resampled: np.ndarray, actors: int) -> Interval:
    if actors < 2:
        return Interval(float(value), float("nan"), float("nan"))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high))


def _hits(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, and nan where bottom is 0."""
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=np.asarray(bottom) > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not nan; nan where all are."""
    present = ~np.isnan(values)
    return _divide(np.where(present, values, 0).sum(-1), present.sum(-1))
