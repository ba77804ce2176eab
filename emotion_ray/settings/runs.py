"""What a person can set of the runs that make models: train, tune and evaluate."""

from dataclasses import dataclass, field, fields
from typing import Literal

from emotion_ray.errors import EmotionRayError
from emotion_ray.settings.checks import check_choices, check_numbers, default_root
from emotion_ray.settings.train import TrainSettings


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
        check_choices(self)
        check_numbers(self, cpus_per_worker=(1, 1024), gpus_per_worker=(0.01, 64))

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
        check_choices(self)
        check_numbers(self, fold=(1, 1000))


@dataclass(frozen=True)
class TrainRunSettings(TrainSettings, SplitSettings, RunSettings):
    """A training from clips to a stored model."""

    seed: int = 0
    """Of the split, first weights, order of clips, dropout and augmentation: other seeds test on other clips."""
    workers: int = 1
    """Processes that share each batch."""
    max_failures: int = 3
    """Times that lost workers are replaced before the run is given up."""

    def __post_init__(self):
        for kind in (TrainSettings, SplitSettings, RunSettings):
            kind.__post_init__(self)
        check_numbers(self, workers=(1, 4096), max_failures=(0, 1000))

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
    mixed_precision: bool = False
    """Of every trial: bfloat16 where it is safe, on a GPU or on a CPU that has instructions for it."""
    seed: int = 0
    """Of the search, the split and every trial's training."""

    def __post_init__(self):
        super().__post_init__()
        check_numbers(
            self,
            trials=(1, 100_000),
            epochs=(1, 100_000),
            grace=(1, 100_000),
            time_budget=(1, 10_000_000),
            workers_per_trial=(1, 4096),
            max_concurrent=(1, 4096),
            fold=(1, 1000),
            max_failures=(0, 1000),
            seed=(0, 2**32 - 1),
        )


@dataclass(frozen=True)
class EvaluateSettings(RunSettings):
    """Trains and tests models by a protocol, from several seeds, or tests stored ones, and writes the report."""

    model: Literal["lstm", "attention", "both", "none"] | None = None
    """Which classifiers with the baseline's settings; none: only those of `tuned`. Default: both, or none where
    `stored` names models."""
    tuned: tuple[str, ...] = ()
    """Names of stored models whose settings are evaluated too, trained anew on every split."""
    stored: tuple[str, ...] = ()
    """Names of stored models that are tested as they are, without training, on all clips, which must be of other
    data than theirs, or of other actors. The settings below are without effect then."""
    protocol: Literal["actor", "random", "both"] = "both"
    """random: the baseline's 80/20; actor: every actor is tested by a model that has not seen them."""
    seeds: int = 1
    """How many seeds, 0, 1, 2 and so on, each with splits and trainings of its own."""
    epochs: int | None = None
    """Epochs of every training. Default: 30 for the baseline's settings, a tuned model's own."""
    control: bool = True
    """Whether each seed trains once on permuted labels too, which must come out at chance."""
    cost: bool = True
    """Whether speed and memory of each model are measured, about half a minute each."""
    at_once: int | None = None
    """Trainings at a time. Default: as many as there is room for."""

    def __post_init__(self):
        super().__post_init__()
        if self.model is None:
            object.__setattr__(self, "model", "none" if self.stored else "both")
        if self.stored and (self.tuned or self.model != "none"):
            raise EmotionRayError(
                "stored models are tested without training: give --stored without --model and --tuned"
            )
        check_numbers(self, seeds=(1, 100), epochs=(1, 100_000), at_once=(1, 4096))
