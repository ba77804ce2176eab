"""Early stopping replayed from records, against rules that can be reckoned by hand and against Ray Tune itself."""

import pytest
from random_clips import random_clips
from recorded_sweeps import keep, kept
from replay import Recorded, drawn, replayed

from emotion_ray.distributed.preflight import Need
from emotion_ray.distributed.search_space import baseline
from emotion_ray.distributed.sweep import run_sweep
from emotion_ray.distributed.trial import SweepTask, trainable
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.history import read_history
from emotion_ray.settings import TuneSettings

pytestmark = pytest.mark.ray

EPOCHS = 30


def trial(uar, seconds=1.0, epochs=EPOCHS, **changed):
    """A recorded trial that has the same UAR after each of its epochs."""
    record = {"val_uar": uar, "val_loss": 1.0, "train_seconds": 0.8 * seconds, "val_seconds": 0.2 * seconds}
    return Recorded({**baseline("lstm"), **changed}, [{"epoch": epoch, **record} for epoch in range(1, epochs + 1)])


def test_what_lags_behind_at_a_rung_ends_there_and_the_baseline_does_not():
    trials = [trial(0.1), trial(0.5, lr=0.002), trial(0.3, lr=0.003), trial(0.6, lr=0.004), trial(0.05, lr=0.005)]
    # one at a time: the first at a rung goes on, then those of the best quarter so far; the rungs are at 4 and 16
    assert replayed("lstm", EPOCHS, trials, at_once=1) == [30, 30, 4, 30, 4]


def test_trials_tell_of_their_epochs_in_the_order_in_which_these_end():
    worse_but_faster = [trial(0.5, seconds=2, lr=0.002), trial(0.4, seconds=1, lr=0.003)]
    assert replayed("lstm", EPOCHS, worse_but_faster, at_once=1) == [30, 4]
    assert replayed("lstm", EPOCHS, worse_but_faster, at_once=2) == [30, 30]


def test_a_trial_begins_when_another_has_ended():
    """The third begins when the second ends, at its 30th second, and is at the rung before the first, at its 40th."""
    trials = [trial(0.5, seconds=10, lr=0.002), trial(0.1, seconds=1, lr=0.003), trial(0.3, seconds=1, lr=0.004)]
    assert replayed("lstm", EPOCHS, trials, at_once=2) == [30, 30, 30]
    trials[1] = trial(0.1, seconds=1.3, lr=0.003)  # it begins at 39 s, and is at the rung after the first
    assert replayed("lstm", EPOCHS, trials, at_once=2) == [30, 30, 4]


def test_a_trial_that_failed_ran_the_epochs_that_it_has():
    trials = [trial(0.1), trial(0.9, epochs=0, lr=0.01), trial(0.8, epochs=5, lr=0.009), trial(0.5, lr=0.002)]
    assert replayed("lstm", EPOCHS, trials, at_once=1) == [30, 0, 5, 4]


def test_a_sweep_that_is_kept_comes_back_as_it_was_and_for_no_other(tmp_path):
    trials, path = [trial(1 / 3), trial(0.9, epochs=0, lr=0.01), trial(0.8, epochs=5)], tmp_path / "new" / "a.parquet"
    assert kept(path, {"seed": 0}) is None
    keep(path, trials, {"seed": 0}, {"commit": "c"})
    assert kept(path, {"seed": 0}) == (trials, {"commit": "c"})
    with pytest.raises(EmotionRayError, match=r"a\.parquet is of another sweep: remove it"):
        kept(path, {"seed": 1})
    assert [one.name for one in path.parent.iterdir()] == ["a.parquet"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_sweep_runs_the_epochs_that_its_replay_says(ray_here, tmp_path):
    """One trial at a time, so that the order does not depend on how long an epoch happens to take."""
    trials, epochs, seed = 5, 6, 1
    parts = ray_here.put(random_clips(64)), ray_here.put(random_clips(32, seed=1))

    def swept(scheduler):
        folder = tmp_path / scheduler
        task = SweepTask(str(folder / "trials"), "lstm", epochs, seed, workers=1, need=Need(1), max_failures=0)
        settings = TuneSettings(trials=trials, epochs=epochs, seed=seed, search="random", scheduler=scheduler)
        rows = run_sweep(settings, task, trainable(task, *parts), 1, str(folder))
        by_config = [(row.config, read_history(task.trial_folder(row.trial))) for row in rows]
        configs = drawn("lstm", trials, seed)
        assert len(by_config) == trials and all(config in configs for config, _ in by_config)
        return [Recorded(config, next(found for other, found in by_config if other == config)) for config in configs]

    full, stopped = swept("none"), swept("asha")
    ran = [len(one.history) for one in stopped]
    assert sum(ran) < trials * epochs
    assert replayed("lstm", epochs, full, at_once=1) == ran
    for short, long in zip(stopped, full, strict=True):
        for here, there in zip(short.history, long.history, strict=False):
            assert (here["train_loss"], here["val_loss"]) == (there["train_loss"], there["val_loss"])
