"""Which classifiers there are, by name, and how to tell one by its weights."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from emotion_ray.errors import EmotionRayError
from emotion_ray.models.attention import AttentionClassifier
from emotion_ray.models.backbone import SHRINK, feature_count
from emotion_ray.models.lstm import LSTMClassifier
from emotion_ray.settings import AttentionSettings, LSTMSettings

Classifier = LSTMClassifier | AttentionClassifier
Sizes = LSTMSettings | AttentionSettings

MODELS = {"lstm": LSTMClassifier, "attention": AttentionClassifier}
SIZES = {"lstm": LSTMSettings, "attention": AttentionSettings}
"""The model and its settings, by the architecture's name."""


def build(architecture: str, sizes: Sizes, frames: int, size: int, classes: int) -> Classifier:
    """A classifier with first weights drawn from PyTorch's global generator.

    Args:
        architecture: "lstm" or "attention".
        sizes: the settings of that architecture.
        frames: T, frames a clip.
        size: S, height and width of a frame in px.
        classes: C, emotions to tell apart.

    Raises:
        EmotionRayError: an unknown architecture, settings of another one, or frames or classes out of range.
    """
    if architecture not in MODELS:
        raise EmotionRayError(f"no model is called {architecture!r}: give one of {', '.join(MODELS)}")
    if type(sizes) is not SIZES[architecture]:
        raise EmotionRayError(f"the {architecture} model takes {SIZES[architecture].__name__}, not {sizes!r}")
    limits = (("frames", frames, 1, 10_000), ("size", size, 4, 512), ("classes", classes, 2, 100))
    for name, value, low, high in limits:
        if type(value) is not int or not low <= value <= high:
            raise EmotionRayError(f"{name} is {value!r}: a model takes a whole number from {low} to {high}")
    return MODELS[architecture](sizes, frames, size, classes)


def with_weights(architecture: str, sizes: Sizes, frames: int, size: int, classes: int, weights: dict) -> Classifier:
    """A classifier with these weights, float32, in evaluation mode; no name may be missing or left over.

    Raises:
        EmotionRayError: as `build`; or the weights are not this model's.
    """
    with torch.device("meta"):  # takes no memory and draws no weights that would be replaced at once
        model = build(architecture, sizes, frames, size, classes)
    try:
        model.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        problem = " ".join(str(error).split("\n\t")[1:2]).strip() or "another model's"
        raise EmotionRayError(f"the weights are not of this {architecture} model: {problem[:200]}") from None
    return model.eval()


def told_by_weights(weights: Mapping[str, Tensor], frames: int = 60) -> tuple[str, Sizes, int, int, int]:
    """The arguments of `build` for a state dict that came alone, as the baseline's do.

    The number of attention heads leaves no trace in the weights and is taken to be the default, as is, of an
    LSTM, `frames`.

    Raises:
        EmotionRayError: they are of neither model.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    try:
        if "lstm.weight_hh_l0" in shapes:
            sizes = LSTMSettings(
                shapes["lstm.weight_hh_l0"][1],
                layers=sum(re.fullmatch(r"lstm\.weight_hh_l\d+", name) is not None for name in shapes),
                bidirectional="lstm.weight_hh_l0_reverse" in shapes,
            )
            return "lstm", sizes, frames, _frame_size(shapes["lstm.weight_ih_l0"][1]), shapes["fc.weight"][0]
        _, frames, embedding = shapes["pos_embedding"]
        sizes = AttentionSettings(
            embedding,
            layers=sum(name.endswith(".linear1.weight") for name in shapes),
            feed_forward=shapes["attention.layers.0.linear1.weight"][0],
            norm="pre" if "attention.norm.weight" in shapes else "post",
        )
        size = _frame_size(shapes["fc_embed.weight"][1])
        return "attention", sizes, frames, size, shapes["classifier.weight"][0]
    except (KeyError, IndexError, ValueError):
        raise EmotionRayError("the weights are of neither the lstm nor the attention model") from None


def _frame_size(features: int) -> int:
    size = SHRINK * round((features / feature_count(SHRINK)) ** 0.5)
    if feature_count(size) != features:
        raise ValueError(features)
    return size
