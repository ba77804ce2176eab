"""What a person can set of a model and its training."""

from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from emotion_ray.errors import EmotionRayError
from emotion_ray.settings.checks import check_choices, check_numbers


@dataclass(frozen=True)
class LSTMSettings:
    """Sizes of the LSTM classifier. The defaults are those of the baseline."""

    hidden_size: int = 128
    """Hidden units of each direction of a layer."""
    layers: int = 1
    """LSTM layers, one upon the other."""
    bidirectional: bool = False
    """Read the clip backwards too, by a second LSTM."""
    dropout: float = 0.0
    """Share of hidden units left out in training, between layers and before the last linear layer."""

    def __post_init__(self):
        check_numbers(self, hidden_size=(1, 4096), layers=(1, 8), dropout=(0, 0.9))
        check_choices(self)


@dataclass(frozen=True)
class AttentionSettings:
    """Sizes of the attention classifier. The defaults are those of the baseline."""

    embedding: int = 256
    """Numbers a frame is projected to; a multiple of `heads`."""
    heads: int = 4
    """Attention heads of a layer."""
    layers: int = 1
    """Transformer encoder layers."""
    feed_forward: int = 2048
    """Hidden units of each layer's feed-forward part."""
    dropout: float = 0.1
    """Share of units left out in training, throughout the encoder."""
    norm: Literal["post", "pre"] = "post"
    """Layer norm after each part of a layer, or before it (then once more after the last layer)."""

    def __post_init__(self):
        check_numbers(self, embedding=(1, 4096), heads=(1, 64), layers=(1, 16), dropout=(0, 0.9))
        check_numbers(self, feed_forward=(1, 16384))
        check_choices(self)
        if self.embedding % self.heads:
            raise EmotionRayError(f"embedding is {self.embedding}: give a multiple of heads ({self.heads})")


@dataclass(frozen=True)
class AugmentSettings:
    """Changes made to training clips, the same for all frames of a clip. All are off by default."""

    mirror: float = 0.0
    """Probability that a clip is mirrored, left to right."""
    shift: int = 0
    """Largest shift of the picture, in px, up, down, left and right; the edge is repeated."""
    brightness: float = 0.0
    """Largest relative change of brightness: 0.2 multiplies by 0.8 to 1.2."""
    time_jitter: int = 0
    """Largest shift in time, in frames, earlier or later; the first or last frame is repeated."""

    def __post_init__(self):
        check_numbers(self, mirror=(0, 1), shift=(0, 64), brightness=(0, 1), time_jitter=(0, 60))


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained. The defaults are the baseline's; what it did not have is off."""

    model: Literal["lstm", "attention", "both"] = "lstm"
    """Which classifier; both: one after the other."""
    epochs: int = 30
    """Times the training clips are gone through."""
    batch: int = 8
    """Clips an optimizer step, over all workers together."""
    lr: float = 1e-3
    """Learning rate (of Adam)."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW): each step takes lr x weight_decay of every weight."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the loss of a class is weighted by clips / (classes x clips of the class)."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises from 0 in a line; parts of an epoch are allowed."""
    schedule: Literal["constant", "cosine"] = "constant"
    """cosine: after the warm-up the learning rate falls to 0 in half a cosine."""
    clip_norm: float = 0.0
    """Largest L2 norm of the gradient, over all weights; 0: not clipped."""
    patience: int = 0
    """Stop after so many epochs without a better validation UAR (or the same with less loss); 0: never."""
    mixed_precision: bool = False
    """bfloat16 where it is safe, on a GPU or on a CPU that has instructions for it; without effect on others."""
    seed: int = 0
    """Of first weights, order of clips, dropout and augmentation."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Changes made to training clips."""
    lstm: LSTMSettings = field(default_factory=LSTMSettings)
    """Sizes of the LSTM classifier."""
    attention: AttentionSettings = field(default_factory=AttentionSettings)
    """Sizes of the attention classifier."""

    def __post_init__(self):
        check_numbers(
            self,
            epochs=(1, 100_000),
            batch=(1, 4096),
            lr=(1e-12, 10),
            weight_decay=(0, 10),
            label_smoothing=(0, 0.9),
            warmup_epochs=(0, 100_000),
            clip_norm=(0, 1e6),
            patience=(0, 100_000),
            seed=(0, 2**32 - 1),
        )
        check_choices(self)


Settings = TypeVar("Settings")


def rebuilt(kind: type[Settings], values: Any, what: str) -> Settings:
    """Settings from their `asdict`, as it comes back from JSON.

    Raises:
        EmotionRayError: they are not of this class; `what` says whose they are.
    """
    nested = {name: inner for name, inner in get_type_hints(TrainSettings).items() if is_dataclass(inner)}
    try:
        made = {}
        for name, value in values.items():
            inner = nested.get(name) if isinstance(value, dict) else None
            made[name] = inner(**value) if inner else tuple(value) if isinstance(value, list) else value
        return kind(**made)
    except (TypeError, AttributeError):
        raise EmotionRayError(f"{what} has settings of another release: make a new one") from None
