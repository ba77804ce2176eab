import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_fits import LookupFit, make_clips
from one_after_another import evaluate

from emotion_ray.errors import EmotionRayError
from emotion_ray.learning import metrics
from emotion_ray.learning.evaluate import (
    Fitted,
    LoopFit,
    describe,
    labels_for,
    plan,
)
from emotion_ray.learning.predictions import PREDICTIONS, load_evaluation, save_evaluation
from emotion_ray.learning.summaries import difference, select, summarise
from emotion_ray.settings import LSTMSettings, TrainSettings


@pytest.fixture(scope="module")
def evaluation():
    clips = make_clips()
    return evaluate(clips, describe(clips, "faces", synthetic=False), {"look": LookupFit()}, seeds=[0, 1])


def test_the_plan_is_complete():
    runs = plan(make_clips(), ["a", "b"], seeds=[0, 1])
    names = [str(run) for run in runs]
    assert len(names) == len(set(names)) == 2 * 2 * (1 + 5 + 1)
    assert "b, random, seed 1" in names
    assert "a, actor fold 5, seed 0" in names
    assert "a, random, seed 1, labels permuted" in names


def test_every_clip_is_tested_once_by_a_model_that_never_saw_its_actor(evaluation):
    clips = make_clips()
    fit = LookupFit()
    data = describe(clips, "faces", synthetic=False)
    predictions = evaluate(clips, data, {"look": fit}, ["actor"], control=False).predictions
    for choice in ("best", "last"):
        assert sorted(select(predictions, choice=choice)["clip_id"].to_pylist()) == clips.clip_id
    for train, validation in fit.trained:
        tested = set(range(len(clips))) - train - validation
        actors = [set(clips.actor[list(part)].tolist()) for part in (train, validation, tested)]
        assert sum(map(len, actors)) == 6
        assert tested in fit.asked


def test_predictions_say_what_they_are(evaluation):
    table = evaluation.predictions
    assert table.schema == PREDICTIONS
    rows = table.to_pylist()
    assert {(row["choice"], row["epoch"]) for row in rows} == {("best", 2), ("last", 4)}
    clips = make_clips()
    truth = dict(zip(clips.clip_id, zip(clips.actor, clips.emotion, strict=True), strict=True))
    assert all(truth[r["clip_id"]] == (r["actor"], r["emotion"]) for r in rows if r["labels"] == "true")
    probs = metrics.probabilities(np.array([r["logits"] for r in rows]), np.array([r["temperature"] for r in rows]))
    assert np.allclose(probs, [r["probs"] for r in rows], atol=1e-6)
    assert len(evaluation.history) == 2 * (1 + 5 + 1) * 4
    assert [row["epoch"] for row in evaluation.history[:5]] == [1, 2, 3, 4, 1]


def test_what_can_be_seen_is_learnt_and_permuted_labels_are_not(evaluation):
    figures = {(s.protocol, s.choice, s.labels): s for s in summarise(evaluation.predictions)}
    assert figures["actor", "best", "true"].war.value == 1
    control = figures["random", "last", "permuted"]
    assert control.chance.low <= control.war.value <= control.chance.high


def test_the_control_is_the_same_labels_in_another_order():
    clips = make_clips()
    permuted = labels_for(clips, "permuted", 3, "random")
    assert np.array_equal(np.sort(permuted), np.sort(clips.emotion))
    assert (permuted == clips.emotion).mean() < 0.4
    assert np.array_equal(permuted, labels_for(clips, "permuted", 3, "random"))
    assert labels_for(clips, "true", 3, "random") is clips.emotion


def test_the_control_of_few_clips_has_every_class_in_training():
    clips = make_clips(actors=3, per_class=3)
    for seed in range(5):
        control = [run for run in plan(clips, ["look"], ["actor"], [seed]) if run.labels == "permuted"]
        permuted = labels_for(clips, "permuted", seed, "actor")
        assert len(control) == 3 and all(len(set(permuted[run.split.train])) == 8 for run in control)
    first = [np.random.default_rng(seed).permutation(clips.emotion) for seed in range(5)]
    assert any(len(set(labels[run.split.train])) < 8 for labels in first for run in control), (
        "no draw was in need of it"
    )


def test_a_control_that_can_not_be_says_how_to_do_without():
    clips = make_clips(actors=3, per_class=1)
    assert plan(clips, ["look"], ["actor"], [0], control=False)
    with pytest.raises(EmotionRayError, match=r"as the control needs: give --no-control"):
        plan(clips, ["look"], ["actor"], [0])


def test_summaries_count_clips_and_pool_seeds(evaluation):
    actor = next(s for s in summarise(evaluation.predictions) if (s.protocol, s.choice) == ("actor", "best"))
    assert (actor.clips, actor.predictions, actor.actors, actor.seeds) == (96, 192, 6, 2)
    assert actor.counts.sum() == 192
    assert actor.uar.value == pytest.approx(actor.uar_seeds.mean)
    assert actor.selection == "best epoch on validation actors"
    random = next(s for s in summarise(evaluation.predictions) if (s.protocol, s.choice) == ("random", "best"))
    assert random.selection == "best epoch, selected on the same clips"


def test_models_are_compared_clip_by_clip():
    clips = make_clips()
    data = describe(clips, "faces", synthetic=False)

    def half_right(clips, labels, train, validation, seed):
        fitted = LookupFit()(clips, labels, train, validation, seed)

        def logits(positions, choice):
            right = fitted.logits(positions, choice)
            return np.where(positions[:, None] % 2, np.roll(right, 1, axis=1), right)

        return Fitted(fitted.history, fitted.best, logits)

    table = evaluate(clips, data, {"whole": LookupFit(), "half": half_right}, ["actor"], control=False).predictions
    gain = difference(table, metrics.war, "whole", "half")
    assert (gain.value, gain.low, gain.high) == (0.5, 0.5, 0.5)
    with pytest.raises(EmotionRayError, match="whole and ghost can't be compared"):
        difference(table, metrics.war, "whole", "ghost")


def test_an_evaluation_is_saved_and_read_back(evaluation, tmp_path):
    save_evaluation(tmp_path / "new" / "run", evaluation)
    again = load_evaluation(tmp_path / "new" / "run")
    assert again.data == evaluation.data
    assert again.predictions.equals(evaluation.predictions)
    assert again.history == evaluation.history
    assert pq.read_metadata(tmp_path / "new" / "run" / "predictions.parquet").num_rows == len(again.predictions)


def test_what_is_no_evaluation_is_refused_in_one_line(tmp_path):
    for name in ("empty", "text", "foreign"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "predictions.parquet").write_text("hello")
    pq.write_table(PREDICTIONS.empty_table(), tmp_path / "foreign" / "predictions.parquet")
    for name in ("empty", "text", "foreign"):
        with pytest.raises(EmotionRayError, match=f"no evaluation can be read from .*{name}") as caught:
            load_evaluation(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_predictions_that_are_not_finite_are_refused():
    clips = make_clips()

    def broken(clips, labels, train, validation, seed):
        return Fitted([{}], 1, lambda positions, choice: np.full((len(positions), 8), np.nan))

    with pytest.raises(EmotionRayError, match="broken, random, seed 0: the predictions are not finite"):
        evaluate(clips, describe(clips, "faces", synthetic=False), {"broken": broken})


@pytest.mark.parametrize(
    ("models", "protocols", "seeds", "message"),
    [
        ([], ["random"], [0], "nothing to evaluate"),
        (["a"], [], [0], "nothing to evaluate"),
        (["a"], ["random"], [], "nothing to evaluate"),
        (["a", "a"], ["random"], [0], "named twice"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(models, protocols, seeds, message):
    with pytest.raises(EmotionRayError, match=message):
        plan(make_clips(), models, protocols, seeds)


def test_the_splits_are_checked_before_anything_is_trained():
    clips, fit = make_clips(actors=2, per_class=5), LookupFit()
    with pytest.raises(EmotionRayError, match="at least 3 actors"):
        evaluate(clips, describe(clips, "faces", synthetic=False), {"look": fit})
    assert not fit.trained


@pytest.mark.slow
def test_the_loop_is_a_fit():
    clips = make_clips(actors=4, size=8)
    clips.frames[:] = (clips.emotion * 30).astype(np.uint8)[:, None, None, None, None]
    settings = TrainSettings(epochs=3, batch=8, lstm=LSTMSettings(hidden_size=8))
    fit = LoopFit("lstm", settings)
    evaluation = evaluate(clips, describe(clips, "grey", synthetic=False), {"lstm": fit}, ["random"], control=False)
    best = max(evaluation.history, key=lambda row: (row["val_uar"], -row["val_loss"]))
    by_choice = {s.choice: s for s in summarise(evaluation.predictions)}
    assert by_choice["best"].uar.value == pytest.approx(best["val_uar"])
    assert by_choice["best"].raw.loss == pytest.approx(best["val_loss"], rel=1e-5)
    assert by_choice["last"].raw.loss == pytest.approx(evaluation.history[-1]["val_loss"], rel=1e-5)
    assert [row["epoch"] for row in evaluation.history] == [1, 2, 3]
