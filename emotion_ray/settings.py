"""What a person can set, stage by stage. The command line and the jobs are made from these classes."""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from emotion_ray.errors import EmotionRayError


def default_root() -> str:
    """The folder under which everything is made: `$EMOTION_RAY_HOME`, else `~/emotion_ray`."""
    return os.environ.get("EMOTION_RAY_HOME") or str(Path.home() / "emotion_ray")


@dataclass(frozen=True)
class CropSettings:
    """How a video becomes a clip. All of these change pixels, so all are part of a clip's fingerprint."""

    detector: Literal["track", "exact"] = "track"
    """track: the cascade in a window around the last face; exact: in each frame, facenet-pytorch's very box."""
    frames: int = 60
    """Frames a clip (T)."""
    sampling: Literal["first", "uniform"] = "first"
    """first: the first frames at 29.97 a second; uniform: spread over the whole take."""
    size: int = 64
    """Height and width of a crop, in px."""

    def __post_init__(self):
        _check_choices(self, detector=("track", "exact"), sampling=("first", "uniform"))
        _check_numbers(self, frames=(1, 10_000), size=(8, 1024))


@dataclass(frozen=True)
class PrepareSettings(CropSettings):
    """From archives to face clips."""

    source: str = "zenodo"
    """zenodo: the RAVDESS record; or a folder of archives or videos; or a CSV manifest path,label,actor[,clip_id]."""
    actors: str | None = None
    """Which actors, such as 1-10 or 3,7,20-24. Default: 1-10 of the RAVDESS record, all of a folder or manifest."""
    modality: Literal["av", "video", "both"] = "av"
    """av: takes with sound; video: without (the same performances); both: each performance twice."""
    base_url: str = "https://zenodo.org"
    """Where the RAVDESS record is: Zenodo, or a mirror with the same paths."""
    root: str = field(default_factory=default_root)
    """Folder under which everything is made."""
    out: str | None = None
    """Folder of the clips, a path or a URI. Default: ROOT/clips."""
    cache: str | None = None
    """Folder of the downloaded archives, on each machine. Default: ROOT/archives."""
    workers: int | None = None
    """Takes cropped at a time. Default: one a CPU."""
    downloads: int = 4
    """Archives downloaded at a time."""
    take_timeout_s: float = 120.0
    """Seconds after which a take that hangs is given up."""

    def __post_init__(self):
        super().__post_init__()
        _check_choices(self, modality=("av", "video", "both"))
        _check_numbers(self, downloads=(1, 64), take_timeout_s=(0.01, 86_400))
        if self.workers is not None:
            _check_numbers(self, workers=(1, 4096))

    @property
    def crop(self) -> CropSettings:
        """The part that changes pixels."""
        return CropSettings(**{one.name: getattr(self, one.name) for one in fields(CropSettings)})


def _check_numbers(settings: object, **limits: tuple[float, float]) -> None:
    """Refuses fields that are no number of the kind of their default, or outside `(low, high)`."""
    for name, (low, high) in limits.items():
        value = getattr(settings, name)
        whole = isinstance(getattr(type(settings), name), int)
        kind = isinstance(value, int) if whole else isinstance(value, (int, float))
        if isinstance(value, bool) or not kind or not low <= value <= high:
            expected = "a whole number" if whole else "a number"
            raise EmotionRayError(f"{name} is {value!r:.80}: give {expected} from {low:g} to {high:g}")


def _check_choices(settings: object, **choices: tuple[object, ...]) -> None:
    for name, allowed in choices.items():
        value = getattr(settings, name)
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
            raise EmotionRayError(f"{name} is {value!r:.80}: give one of {', '.join(map(str, allowed))}")


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
        _check_numbers(self, hidden_size=(1, 4096), layers=(1, 8), dropout=(0, 0.9))
        _check_choices(self, bidirectional=(False, True))


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
        _check_numbers(self, embedding=(1, 4096), heads=(1, 64), layers=(1, 16), dropout=(0, 0.9))
        _check_numbers(self, feed_forward=(1, 16384))
        _check_choices(self, norm=("post", "pre"))
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
        _check_numbers(self, mirror=(0, 1), shift=(0, 64), brightness=(0, 1), time_jitter=(0, 60))


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
    """bfloat16 where it is safe, on a GPU; without effect on a CPU."""
    seed: int = 0
    """Of first weights, order of clips, dropout and augmentation."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Changes made to training clips."""
    lstm: LSTMSettings = field(default_factory=LSTMSettings)
    """Sizes of the LSTM classifier."""
    attention: AttentionSettings = field(default_factory=AttentionSettings)
    """Sizes of the attention classifier."""

    def __post_init__(self):
        _check_numbers(
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
        _check_choices(
            self,
            model=("lstm", "attention", "both"),
            class_weights=("none", "balanced"),
            schedule=("constant", "cosine"),
            mixed_precision=(False, True),
        )


@dataclass(frozen=True)
class RunSettings:
    """Where a run finds its clips, what it works on and where it puts what it makes."""

    root: str = field(default_factory=default_root)
    """Folder under which everything is made."""
    clips: str | None = None
    """Folder of the clips, a path or a URI. Default: ROOT/clips."""
    run: str | None = None
    """Name of the run; its folder is ROOT/runs/RUN. Default: made of the command, the model and the time."""
    resume: bool = False
    """Go on with RUN (default: the newest that was cut off), with the settings that it was begun with."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: GPUs where there are enough for all workers, else CPUs."""
    cpus_per_worker: int | None = None
    """CPUs, and threads, of a worker. Default: train shares out all there are; tune and evaluate give 1."""
    gpus_per_worker: float = 1.0
    """GPUs of a worker where it works on them; parts such as 0.5 let trials share one."""

    def __post_init__(self):
        _check_numbers(self, gpus_per_worker=(0.01, 64))
        _check_choices(self, device=("auto", "cpu", "cuda"), resume=(False, True))
        if self.cpus_per_worker is not None:
            _check_numbers(self, cpus_per_worker=(1, 1024))

    @property
    def clips_folder(self) -> str:
        return self.clips or f"{self.root}/clips"


@dataclass(frozen=True)
class SplitSettings:
    """Which clips train, which choose the epoch, and which are tested on."""

    protocol: Literal["random", "actor"] = "random"
    """random: the baseline's stratified 80/20; actor: on actors that training has not seen."""
    fold: int = 1
    """Which of the actor folds is tested on, from 1."""

    def __post_init__(self):
        _check_choices(self, protocol=("random", "actor"))
        _check_numbers(self, fold=(1, 1000))


@dataclass(frozen=True)
class TrainRunSettings(TrainSettings, SplitSettings, RunSettings):
    """A training from clips to a stored model."""

    workers: int = 1
    """Processes that share each batch."""
    max_failures: int = 3
    """Times that lost workers are replaced before the run is given up."""

    def __post_init__(self):
        for kind in (TrainSettings, SplitSettings, RunSettings):
            kind.__post_init__(self)
        _check_numbers(self, workers=(1, 4096), max_failures=(0, 1000))

    @property
    def training(self) -> TrainSettings:
        """The part that decides on the weights."""
        return TrainSettings(**{one.name: getattr(self, one.name) for one in fields(TrainSettings)})


@dataclass(frozen=True)
class TuneSettings(RunSettings):
    """A search for better settings than the baseline's, by validation clips alone."""

    model: Literal["lstm", "attention", "both"] = "lstm"
    """Which classifier; both: a sweep for each, one after the other."""
    trials: int = 20
    """Trainings, the baseline's among them."""
    epochs: int = 30
    """Epochs of a trial that is not stopped early."""
    search: Literal["optuna", "random"] = "optuna"
    """How settings are chosen: optuna learns from the trials before (TPE)."""
    scheduler: Literal["asha", "none"] = "asha"
    """asha: stops trials that lag behind the others after as many epochs; none: all run to their end."""
    grace: int | None = None
    """Epochs that every trial gets under asha. Default: 4 for lstm, 10 for attention (at chance for about 8)."""
    time_budget: float | None = None
    """Seconds after which no trial is begun and those under way stop at the next epoch, but for the baseline."""
    workers_per_trial: int = 1
    """Processes that share each batch of a trial."""
    max_concurrent: int | None = None
    """Trials at a time. Default: as many as there is room for."""
    protocol: Literal["actor", "random"] = "actor"
    """Whose test clips the sweep never sees: a fold of actors, or a stratified fifth of the clips."""
    fold: int = 1
    """Which of the actor folds that is, from 1."""
    max_failures: int = 3
    """Times that a trial whose process died goes on from its last epoch before it counts as failed."""
    seed: int = 0
    """Of the search, the split and every trial's training."""

    def __post_init__(self):
        super().__post_init__()
        _check_choices(
            self,
            model=("lstm", "attention", "both"),
            search=("optuna", "random"),
            scheduler=("asha", "none"),
            protocol=("actor", "random"),
        )
        _check_numbers(
            self,
            trials=(1, 100_000),
            epochs=(1, 100_000),
            workers_per_trial=(1, 4096),
            fold=(1, 1000),
            max_failures=(0, 1000),
            seed=(0, 2**32 - 1),
        )
        for name, high in (("grace", 100_000), ("max_concurrent", 4096), ("time_budget", 10_000_000)):
            if getattr(self, name) is not None:
                _check_numbers(self, **{name: (1, high)})


@dataclass(frozen=True)
class EvaluateSettings(RunSettings):
    """Trains and tests models by a protocol, from several seeds, and writes the report."""

    model: Literal["lstm", "attention", "both", "none"] = "both"
    """Which classifiers with the baseline's settings; none: only those of `tuned`."""
    tuned: tuple[str, ...] = ()
    """Names of stored models whose settings are evaluated too, trained anew on every split."""
    protocol: Literal["actor", "random", "both"] = "both"
    """random: the baseline's 80/20; actor: every actor is tested by a model that has not seen them."""
    seeds: int = 1
    """How many seeds, 0, 1, 2 and so on, each with splits and trainings of its own."""
    epochs: int | None = None
    """Epochs of every training. Default: 30 for the baseline's settings, a tuned model's own."""
    control: bool = True
    """Train once per seed on permuted labels too, which must come out at chance."""
    cost: bool = True
    """Measure speed and memory of each model (about half a minute each)."""
    at_once: int | None = None
    """Trainings at a time. Default: as many as there is room for."""

    def __post_init__(self):
        super().__post_init__()
        _check_choices(
            self, model=("lstm", "attention", "both", "none"), protocol=("actor", "random", "both"),
            control=(False, True), cost=(False, True),
        )
        _check_numbers(self, seeds=(1, 100))
        for name, high in (("epochs", 100_000), ("at_once", 4096)):
            if getattr(self, name) is not None:
                _check_numbers(self, **{name: (1, high)})
