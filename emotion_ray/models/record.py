"""What is known of a stored model: the contents of its `model.json`."""

import json
import math
import platform
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from typing import Any

from emotion_ray import __version__
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.architectures import SIZES, Sizes

FORMAT = 1


@dataclass(frozen=True)
class ModelRecord:
    """All that is kept beside a model's weights.

    Attributes:
        architecture: "lstm" or "attention".
        sizes: its settings.
        frames: T, frames a clip.
        size: S, height and width of a frame in px.
        labels: names of the C classes, in the order of the logits.
        prepared_with: fingerprints of the training clips' preparation.
        created: day and time, ISO 8601.
        seed: of the training.
        training: the `TrainSettings`, as a dict.
        data: `name` (such as "RAVDESS"), `synthetic` (bool), `clips`, `actors` (numbers), `licence`, `seen_actors`
            (the numbers of those in training and validation).
        protocol: how the figures were come by, in words.
        split: clip_ids by part: `train`, `validation`, `test`.
        metrics: on the protocol's test clips: `war`, `uar`, `macro_f1` in 0..1, each a number or [value, low,
            high] of the 95% interval; `loss` in nats; `epoch`.
        by_class: figures of each label, such as `clips`, `recall`, `f1`.
        by_actor: figures of each actor, such as `clips`, `war`, `uar`.
        calibration: `temperature` by which logits are to be divided, and figures such as `ece_raw`,
            `ece_calibrated`, `brier_raw`, `brier_calibrated`.
        versions: of this program and what it computes with.
    """

    architecture: str
    sizes: Sizes
    frames: int
    size: int
    labels: tuple[str, ...]
    prepared_with: tuple[str, ...] = ()
    created: str = ""
    seed: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    protocol: str = ""
    split: dict[str, list[str]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    by_class: dict[str, dict[str, float]] = field(default_factory=dict)
    by_actor: dict[str, dict[str, float]] = field(default_factory=dict)
    calibration: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: versions())

    def __post_init__(self):
        if self.architecture not in SIZES or type(self.sizes) is not SIZES[self.architecture]:
            raise EmotionRayError(f"no model {self.architecture!r} with {type(self.sizes).__name__} is known")
        for name, low, high in (("frames", 1, 10_000), ("size", 4, 512), ("seed", 0, 2**32 - 1)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise EmotionRayError(f"{name} is {value!r:.80}: expected a whole number from {low} to {high}")
        for name in ("labels", "prepared_with"):
            value = getattr(self, name)
            if type(value) is not tuple or not all(_is_line(text) for text in value):
                raise EmotionRayError(f"{name} is {value!r:.80}: expected short lines of text")
        if not 2 <= len(set(self.labels)) == len(self.labels) <= 100:
            raise EmotionRayError(f"labels are {self.labels!r:.80}: expected 2 to 100 different names")
        for name in ("created", "protocol"):
            if not _is_line(getattr(self, name)):
                raise EmotionRayError(f"{name} is {getattr(self, name)!r:.80}: expected a short line of text")
        for name in (
            "training",
            "data",
            "split",
            "metrics",
            "by_class",
            "by_actor",
            "calibration",
            "versions",
        ):
            if type(getattr(self, name)) is not dict:
                raise EmotionRayError(f"{name} is {getattr(self, name)!r:.80}: expected an object")
        for part, clips in self.split.items():
            if type(clips) is not list or not all(type(clip) is str for clip in clips):
                raise EmotionRayError(f"split of {part!r:.80} is {clips!r:.80}: expected a list of clip_ids")
        for name in ("by_class", "by_actor"):
            for key, figures in getattr(self, name).items():
                if type(figures) is not dict or not all(_is_number(figure) for figure in figures.values()):
                    raise EmotionRayError(f"{name} of {key!r:.80} is {figures!r:.80}: expected numbers by name")
        if not all(_is_number(figure) for figure in self.calibration.values()):
            raise EmotionRayError(f"calibration is {self.calibration!r:.80}: expected numbers by name")
        if not 0 < self.temperature <= 1000:
            raise EmotionRayError(f"temperature is {self.temperature!r:.80}: expected a number from 0 to 1000")

    @property
    def temperature(self) -> float:
        """By what logits are to be divided for honest probabilities; 1 where that was not measured."""
        return self.calibration.get("temperature", 1.0)

    @property
    def data_label(self) -> str:
        """The data's name to show; the synthetic sample is always called that."""
        name = self.data.get("name")
        name = name if name and _is_line(name) else "unknown data"
        return f"the synthetic sample ({name})" if self.data.get("synthetic") else name

    def to_json(self) -> str:
        """The text of `model.json`. A figure that is not finite becomes null."""
        return json.dumps(finite({"format": FORMAT, **asdict(self)}), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ModelRecord":
        """Reads `model.json`, which anyone may have written.

        Raises:
            EmotionRayError: no such record; the message says what is wrong with it.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise EmotionRayError("it is no JSON") from None
        if type(values) is not dict or values.pop("format", None) != FORMAT:
            raise EmotionRayError(f"it is not of format {FORMAT}")
        known = {entry.name for entry in fields(cls)}
        odd = sorted(known ^ set(values))
        if odd:
            raise EmotionRayError(f"{odd[0]!r:.80} is {'missing' if odd[0] in known else 'unknown'}")
        architecture, sizes = values["architecture"], values["sizes"]
        if type(architecture) is not str or architecture not in SIZES or type(sizes) is not dict:
            raise EmotionRayError(f"no model {architecture!r:.80} is known")
        kind = SIZES[architecture]
        if set(sizes) != {entry.name for entry in fields(kind)}:
            raise EmotionRayError(f"sizes are {sizes!r:.200}: expected the fields of {kind.__name__}")
        values["sizes"] = kind(**sizes)
        for name in ("labels", "prepared_with"):
            values[name] = tuple(values[name]) if type(values[name]) is list else values[name]
        for name in ("by_class", "by_actor"):
            if type(values[name]) is dict:
                values[name] = {key: _without_null(figures) for key, figures in values[name].items()}
        values["calibration"] = _without_null(values["calibration"])
        return cls(**values)


def versions() -> dict[str, str]:
    """Versions of what decides on figures, by name."""
    found = {"emotion_ray": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "av", "opencv-python-headless", "facenet-pytorch", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_line(value: object) -> bool:
    return type(value) is str and len(value) <= 1000 and value.isprintable()


def finite(value: Any) -> Any:
    """Plain values for JSON, at any depth: NumPy's numbers become Python's, and one that is not finite None."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if not _is_number(value) or isinstance(value, int):
        return value
    number = int(value) if isinstance(value, Integral) else float(value)  # NumPy's too
    return number if math.isfinite(number) else None


def _without_null(figures: Any) -> Any:
    if type(figures) is not dict:
        return figures
    return {key: figure for key, figure in figures.items() if figure is not None}
