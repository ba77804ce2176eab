"""What a person can set of reproducing the baseline's results: all stages at once, and what follows for each."""

import re
from dataclasses import asdict, dataclass, field

from emotion_ray.settings.checks import check_address, check_numbers, check_on_disk, default_root
from emotion_ray.settings.prepare import BASE_URL, CropSettings, PrepareSettings
from emotion_ray.settings.runs import EvaluateSettings, TrainRunSettings, TuneSettings


@dataclass(frozen=True)
class ReproduceSettings(CropSettings):
    """From RAVDESS's archives to a report that stands beside the baseline's published figures."""

    actors: str = "1-10"
    """Which actors of RAVDESS: 1-10 are the baseline's. At least three."""
    base_url: str = BASE_URL
    """Where the RAVDESS record is: Zenodo, or a mirror with the same paths."""
    root: str = field(default_factory=default_root)
    """Folder, on a disk, under which everything is made."""
    clips: str | None = None
    """Folder of the clips; it may hold no others than those of these actors. Default: ROOT/clips."""
    cache: str | None = None
    """Folder of the downloaded archives. Default: ROOT/archives."""
    run: str | None = None
    """With what the names of all runs and models begin. Default: reproduce-ACTORS."""
    epochs: int = 30
    """Epochs of a training; a trial of a sweep may be stopped before."""
    trials: int = 20
    """Trials of each model's sweep, the baseline's among them."""
    seeds: int = 1
    """Seeds of the evaluation, each with splits and trainings of its own."""
    cost: bool = True
    """Whether speed and memory of each evaluated model are measured, about half a minute each."""
    yes: bool = False
    """Begin without asking. Nothing is asked either where the input is no terminal."""

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, epochs=(1, 100_000), trials=(1, 100_000), seeds=(1, 100))
        check_on_disk("--root", self.root)
        check_address("--base-url", self.base_url)

    @property
    def prepare(self) -> PrepareSettings:
        crop = {name: getattr(self, name) for name in asdict(CropSettings())}
        where = {"root": self.root, "out": self.clips, "cache": self.cache}
        return PrepareSettings(**crop, **where, actors=self.actors, base_url=self.base_url)

    @property
    def train(self) -> TrainRunSettings:
        """Both models at the baseline's settings, on its random split."""
        return TrainRunSettings(**self._run("baseline"), model="both", epochs=self.epochs)

    @property
    def tune(self) -> TuneSettings:
        """A sweep of each model around the baseline, which never sees the first actor fold."""
        return TuneSettings(**self._run("tuned"), model="both", epochs=self.epochs, trials=self.trials)

    def evaluate(self, tuned: tuple[str, ...]) -> EvaluateSettings:
        """Both models at the baseline's settings and the stored ones named, by both protocols."""
        return EvaluateSettings(
            **self._run("report"), model="both", tuned=tuned, epochs=self.epochs, seeds=self.seeds, cost=self.cost
        )

    def _run(self, stage: str) -> dict[str, str | None]:
        name = self.run or "reproduce-" + re.sub(r"[^0-9-]+", "_", self.actors)
        return {"root": self.root, "clips": self.clips, "run": f"{name}-{stage}"}
