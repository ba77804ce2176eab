import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from emotion_ray.learning import metrics
from emotion_ray.learning.calibration import fit_temperature

LABELS = np.array([0, 0, 1, 1, 1, 2])
GUESSES = np.array([0, 1, 1, 1, 2, 3])

pairs = st.integers(1, 60).flatmap(
    lambda n: st.tuples(hnp.arrays(int, n, elements=st.integers(0, 7)), hnp.arrays(int, n, elements=st.integers(0, 7)))
)


def test_counts_by_hand():
    counts = metrics.confusion(LABELS, GUESSES)
    assert counts[:3, :4].tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 1]]
    assert metrics.recalls(counts)[:3] == pytest.approx([1 / 2, 2 / 3, 0])
    assert metrics.f1s(counts)[:3] == pytest.approx([2 / 3, 2 * 2 / (2 * 2 + 1 + 1), 0])
    assert np.isnan(metrics.recalls(counts)[3:]).all()
    assert np.isnan(metrics.f1s(counts)[3:]).all(), "class 3 is guessed but has no clips"
    assert metrics.war(counts) == pytest.approx(3 / 6)
    assert metrics.uar(counts) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert metrics.macro_f1(counts) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_counts_agree_with_scikit_learn(pair):
    labels, guesses = pair
    counts = metrics.confusion(labels, guesses)
    assert metrics.war(counts) == pytest.approx(sklearn_metrics.accuracy_score(labels, guesses))
    present = np.unique(labels)
    for ours, theirs in ((metrics.uar, "recall_score"), (metrics.macro_f1, "f1_score")):
        score = getattr(sklearn_metrics, theirs)
        expected = score(labels, guesses, labels=present, average="macro", zero_division=0)
        assert ours(counts) == pytest.approx(expected)


def test_no_clips_give_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(metrics.uar(np.zeros((8, 8), int)))
        assert math.isnan(metrics.war(np.zeros((8, 8), int)))


def test_blind_guesses_have_an_eighth_of_uar_whatever_the_class_sizes():
    labels = np.repeat(np.arange(8), [4, 8, 8, 8, 8, 8, 8, 8])
    for guess in range(8):
        assert metrics.uar(metrics.confusion(labels, np.full(60, guess))) == pytest.approx(1 / 8)


def test_loss_and_brier_by_hand():
    uniform = np.zeros((5, 8))
    labels = np.arange(5)
    assert metrics.mean_loss(uniform, labels) == pytest.approx(math.log(8))
    assert metrics.brier(metrics.probabilities(uniform), labels) == pytest.approx(1 - 1 / 8)
    sure = 1000.0 * np.eye(8)[[0, 1]]
    assert metrics.mean_loss(sure, np.array([0, 2])) == pytest.approx(500)
    assert metrics.brier(metrics.probabilities(sure), np.array([0, 2])) == pytest.approx((0 + 2) / 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 10))
def test_brier_and_loss_agree_with_scikit_learn(seed, temperature):
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(20, 8)), random.integers(0, 8, 20)
    probs = metrics.probabilities(logits, temperature)
    brier = sklearn_metrics.brier_score_loss(labels, probs, labels=range(8), scale_by_half=False)
    assert metrics.brier(probs, labels) == pytest.approx(brier)
    loss = sklearn_metrics.log_loss(labels, probs, labels=range(8))
    assert metrics.mean_loss(logits / temperature, labels) == pytest.approx(loss)


def test_reliability_by_hand():
    rest = np.zeros((4, 6))
    probs = np.column_stack([[0.9, 0.92, 0.6, 0.5], [0.1, 0.08, 0.4, 0.5], rest])
    found = metrics.reliability(probs, np.array([0, 1, 0, 0]), bins=10)
    assert found.count.tolist() == [
        0,
        0,
        0,
        0,
        1,
        1,
        0,
        0,
        1,
        1,
    ]  # (0.4, 0.5], (0.5, 0.6], (0.8, 0.9], (0.9, 1]
    assert found.accuracy[[4, 5, 8, 9]].tolist() == [1, 1, 1, 0]
    assert found.confidence[[4, 5, 8, 9]] == pytest.approx([0.5, 0.6, 0.9, 0.92])
    assert found.ece == pytest.approx((0.5 + 0.4 + 0.1 + 0.92) / 4)


def test_ece_is_nought_for_honest_probabilities_and_large_for_boasts():
    random = np.random.default_rng(0)
    probs = metrics.probabilities(2 * random.normal(size=(20_000, 8)))
    labels = (probs.cumsum(1) < random.random((20_000, 1))).sum(1).clip(max=7)
    assert metrics.reliability(probs, labels).ece < 0.02
    assert metrics.reliability(probs**4 / (probs**4).sum(1, keepdims=True), labels).ece > 0.2


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature):
    random = np.random.default_rng(1)
    honest = 2 * random.normal(size=(20_000, 8))
    labels = (metrics.probabilities(honest).cumsum(1) < random.random((20_000, 1))).sum(1).clip(max=7)
    assert fit_temperature(honest * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_stays_within_bounds():
    right = 5 * np.eye(8)
    assert fit_temperature(right, np.arange(8)) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(right, np.roll(np.arange(8), 1)) == pytest.approx(20, rel=0.01)


def predictions(actors=12, clips=40, skill=0.6, seed=0):
    """Labels, guesses and actors where each actor is harder or easier as a whole."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(actors), clips)
    labels = np.tile(np.arange(8), actors * clips // 8)
    per_actor = np.clip(random.normal(skill, 0.15, actors), 0, 1)
    right = random.random(len(who)) < per_actor[who]
    return labels, np.where(right, labels, random.integers(0, 8, len(who))), who


@pytest.mark.slow
def test_the_bootstrap_draws_actors_not_clips():
    labels, guesses, actors = predictions()
    by_actor = metrics.actor_bootstrap(metrics.war, labels, guesses, actors)
    by_clip = metrics.actor_bootstrap(metrics.war, labels, guesses, np.arange(len(labels)))
    assert by_actor.value == by_clip.value == pytest.approx((labels == guesses).mean())
    assert by_actor.low < by_actor.value < by_actor.high
    assert by_actor.high - by_actor.low > 1.2 * (by_clip.high - by_clip.low)
    per_actor = np.array([(labels == guesses)[actors == a].mean() for a in range(12)])
    normal = 2 * 1.96 * per_actor.std() / math.sqrt(12)
    assert by_actor.high - by_actor.low == pytest.approx(normal, rel=0.15)


def test_the_bootstrap_is_the_plain_one():
    labels, guesses, actors = predictions(actors=5)
    drawn = np.random.default_rng(4).multinomial(5, np.full(5, 0.2), size=50)
    scores = []
    for times in drawn:
        rows = np.concatenate([np.flatnonzero(actors == a) for a in range(5) for _ in range(times[a])])
        scores.append(sklearn_metrics.balanced_accuracy_score(labels[rows], guesses[rows]))
    interval = metrics.actor_bootstrap(metrics.uar, labels, guesses, actors, resamples=50, seed=4)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))


def test_one_actor_has_no_interval():
    interval = metrics.actor_bootstrap(metrics.war, LABELS, GUESSES, np.zeros(6, int))
    assert interval.value == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_a_paired_difference_sees_what_two_intervals_cannot():
    labels, guesses, actors = predictions()
    better = guesses.copy()
    wrong = np.flatnonzero(guesses != labels)[::5]  # a fifth of the errors set right, in every actor
    better[wrong] = labels[wrong]
    gain = metrics.paired_difference(metrics.war, labels, better, guesses, actors)
    assert gain.value == pytest.approx(len(wrong) / len(labels))
    assert 0 < gain.low < gain.value < gain.high
    alone = [metrics.actor_bootstrap(metrics.war, labels, guess, actors) for guess in (guesses, better)]
    assert alone[0].high > alone[1].low, "the two intervals overlap, and yet the gain is certain"
    loss = metrics.paired_difference(metrics.war, labels, guesses, better, actors)
    assert (loss.value, loss.low, loss.high) == pytest.approx((-gain.value, -gain.high, -gain.low))
    none = metrics.paired_difference(metrics.uar, labels, guesses, guesses, actors)
    assert (none.value, none.low, none.high) == (0, 0, 0)


def test_chance_by_hand():
    interval = metrics.chance_interval(120)
    assert interval == metrics.Interval(1 / 8, 8 / 120, 22 / 120)
    random = np.random.default_rng(0)
    inside = [interval.low <= (random.integers(0, 8, 120) == 0).mean() <= interval.high for _ in range(2000)]
    assert 0.94 < np.mean(inside) < 0.98
    unequal = metrics.chance_interval(120, commonest=0.3)
    assert unequal.low == interval.low
    assert 0.3 < unequal.high == metrics.chance_interval(120, 0.3).high < 0.4
