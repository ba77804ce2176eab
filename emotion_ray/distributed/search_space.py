"""What a sweep varies: every setting of training and of the model, around the baseline. No Ray in here.

| setting | range | baseline |
|---|---|---|
| lr | 1e-4 to 1e-2, even in its logarithm | 1e-3 |
| batch | 4, 8, 16, 32 | 8 |
| weight_decay | 0, 1e-4, 1e-3, 1e-2, 1e-1 | 0 |
| label_smoothing | 0, 0.05, 0.1, 0.2 | 0 |
| class_weights | none, balanced | none |
| warmup_epochs | 0, 1, 3 | 0 |
| schedule | constant, cosine | constant |
| clip_norm | 0 (off), 1 | 0 |
| augment.mirror | 0, 0.5 | 0 |
| augment.shift | 0, 2, 4 px | 0 |
| augment.brightness | 0, 0.2 | 0 |
| augment.time_jitter | 0, 2, 4 frames | 0 |
| lstm.hidden_size | 64, 128, 256 | 128 |
| lstm.layers | 1, 2 | 1 |
| lstm.bidirectional | no, yes | no |
| lstm.dropout | 0, 0.2, 0.4 | 0 |
| attention.embedding | 128, 256, 384 | 256 |
| attention.heads | 2, 4, 8 | 4 |
| attention.layers | 1, 2, 3 | 1 |
| attention.feed_forward | 512, 1024, 2048 | 2048 |
| attention.dropout | 0, 0.1, 0.2, 0.4 | 0.1 |
| attention.norm | post, pre | post |

Only the sizes of the model that is tuned are varied.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import TrainSettings

Config = dict[str, Any]
"""A setting's dotted name, as in the table, to its value."""

_TRAINING: dict[str, tuple] = {
    "batch": (4, 8, 16, 32),
    "weight_decay": (0.0, 1e-4, 1e-3, 1e-2, 1e-1),
    "label_smoothing": (0.0, 0.05, 0.1, 0.2),
    "class_weights": ("none", "balanced"),
    "warmup_epochs": (0.0, 1.0, 3.0),
    "schedule": ("constant", "cosine"),
    "clip_norm": (0.0, 1.0),
    "augment.mirror": (0.0, 0.5),
    "augment.shift": (0, 2, 4),
    "augment.brightness": (0.0, 0.2),
    "augment.time_jitter": (0, 2, 4),
}
_SIZES: dict[str, dict[str, tuple]] = {
    "lstm": {
        "lstm.hidden_size": (64, 128, 256),
        "lstm.layers": (1, 2),
        "lstm.bidirectional": (False, True),
        "lstm.dropout": (0.0, 0.2, 0.4),
    },
    "attention": {
        "attention.embedding": (128, 256, 384),
        "attention.heads": (2, 4, 8),
        "attention.layers": (1, 2, 3),
        "attention.feed_forward": (512, 1024, 2048),
        "attention.dropout": (0.0, 0.1, 0.2, 0.4),
        "attention.norm": ("post", "pre"),
    },
}


def search_space(architecture: str, workers: int = 1) -> dict[str, BaseDistribution]:
    """The settings that a sweep draws from, by their dotted names, as Optuna's distributions.

    Args:
        architecture: "lstm" or "attention".
        workers: of a trial; only batches that they can share evenly are drawn.

    Raises:
        EmotionRayError: an unknown model, or workers that can't share the baseline's batch.
    """
    if architecture not in _SIZES:
        raise EmotionRayError(f"no model is called {architecture!r}: give one of {', '.join(_SIZES)}")
    baseline = TrainSettings().batch
    if baseline % workers:
        fitting = ", ".join(str(number) for number in range(1, baseline + 1) if baseline % number == 0)
        raise EmotionRayError(
            f"{workers} workers a trial can't share the baseline's batch of {baseline} evenly: "
            f"give --workers-per-trial as one of {fitting}"
        )
    choices = {**_TRAINING, **_SIZES[architecture]}
    choices["batch"] = tuple(batch for batch in choices["batch"] if batch % workers == 0)
    space: dict[str, BaseDistribution] = {"lr": FloatDistribution(1e-4, 1e-2, log=True)}
    return space | {name: CategoricalDistribution(values) for name, values in choices.items()}


def baseline(architecture: str) -> Config:
    """The baseline as a point of the space: all settings at their defaults."""
    return {name: _value(TrainSettings(), name) for name in search_space(architecture)}


def is_baseline(architecture: str, config: Config) -> bool:
    return dict(config) == baseline(architecture)


def settings_of(
    architecture: str, config: Mapping[str, Any], epochs: int, seed: int, mixed_precision: bool = False
) -> TrainSettings:
    """The settings of a trial; what is neither given nor varied by the space is at its default."""
    settings = TrainSettings(model=architecture, epochs=epochs, seed=seed, mixed_precision=mixed_precision)
    parts: dict[str, Config] = {}
    for name, value in config.items():
        part, _, field = name.rpartition(".")
        parts.setdefault(part, {})[field] = value
    nested = {part: replace(getattr(settings, part), **values) for part, values in parts.items() if part}
    return replace(settings, **parts.get("", {}), **nested)


def changes(architecture: str, config: Config) -> Config:
    """What a trial sets otherwise than the baseline."""
    plain = baseline(architecture)
    return {name: value for name, value in config.items() if value != plain.get(name)}


def _value(settings: TrainSettings, name: str) -> Any:
    part, _, field = name.rpartition(".")
    return getattr(getattr(settings, part) if part else settings, field)
