import optuna
import pytest
from optuna.samplers import RandomSampler

from emotion_ray.distributed import search_space as module
from emotion_ray.distributed.search_space import baseline, changes, is_baseline, search_space, settings_of
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import TrainSettings

MODELS = ["lstm", "attention"]


@pytest.mark.parametrize("model", MODELS)
def test_the_baseline_is_a_point_of_the_space(model):
    point, space = baseline(model), search_space(model)
    assert set(point) == set(space)
    for name, distribution in space.items():
        assert distribution._contains(distribution.to_internal_repr(point[name])), name
    assert point["lr"] == 1e-3
    assert settings_of(model, point, epochs=30, seed=0) == TrainSettings(model=model)
    assert is_baseline(model, point)
    assert not is_baseline(model, {**point, "lr": 2e-3})


@pytest.mark.parametrize("model", MODELS)
def test_every_point_is_a_training_that_is_allowed(model):
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    seen = {}
    for _ in range(200):
        config = study.ask(fixed_distributions=search_space(model)).params
        settings = settings_of(model, config, epochs=7, seed=5)
        assert (settings.model, settings.epochs, settings.seed) == (model, 7, 5)
        assert settings.lr == config["lr"]
        assert getattr(settings, model).dropout == config[f"{model}.dropout"]
        assert settings.augment.shift == config["augment.shift"]
        for name, value in config.items():
            seen.setdefault(name, set()).add(value)
    assert all(len(values) > 1 for values in seen.values())
    assert 1e-4 <= min(seen["lr"]) < 2e-4
    assert 5e-3 < max(seen["lr"]) <= 1e-2


@pytest.mark.parametrize("model", MODELS)
def test_the_table_in_the_documentation_is_complete(model):
    rows = [line.split("|")[1].strip() for line in module.__doc__.splitlines() if line.startswith("| ")]
    assert set(search_space(model)) <= set(rows)


def test_changes_are_what_differs_from_the_baseline():
    config = {**baseline("lstm"), "lr": 2e-3, "lstm.layers": 2}
    assert changes("lstm", config) == {"lr": 2e-3, "lstm.layers": 2}


def test_workers_get_batches_that_they_can_share():
    assert search_space("lstm", workers=8)["batch"].choices == (8, 16, 32)
    with pytest.raises(EmotionRayError, match="3 workers a trial can't share the baseline's batch of 8 evenly"):
        search_space("lstm", workers=3)


def test_an_unknown_model_is_refused():
    with pytest.raises(EmotionRayError, match="no model is called 'cnn': give one of lstm, attention"):
        search_space("cnn")
