"""Stand-ins for the heavy jobs of a walkthrough: they note what they are asked for, and leave what jobs leave."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from fake_fits import LookupFit, make_clips
from one_after_another import evaluate as evaluate_all
from scripted_faces import small_model

from emotion_ray.data.storage import Folder
from emotion_ray.distributed.leaderboard import Leaderboard, Row, ranked
from emotion_ray.distributed.search_space import baseline
from emotion_ray.learning.evaluate import describe
from emotion_ray.learning.metrics import Interval
from emotion_ray.learning.predictions import save_evaluation
from emotion_ray.learning.run_folder import open_run
from emotion_ray.learning.run_models import architectures
from emotion_ray.models.store import save_model
from emotion_ray.walkthrough import runs

HISTORY = [{"epoch": 1, "val_uar": 0.4, "val_accuracy": 0.4, "val_loss": 1.5, "train_seconds": 1.0, "val_seconds": 0.5}]


class RecordedJobs:
    """Puts itself in the place of prepare, train, tune and evaluate.

    Args:
        monkeypatch: pytest's.
        walkthrough: the module whose `prepare` is replaced.
        rejects: of preparing.
        better: models that tuning finds something better for than the baseline.

    Attributes:
        calls: what was asked for: each command with its settings.
        stops: commands that are stopped by Ctrl-C the next time, after they have made their run's folder.
    """

    def __init__(self, monkeypatch, walkthrough, rejects=(), better=("lstm",)):
        self.calls: list[tuple[str, object]] = []
        self.stops: set[str] = set()
        self._rejects, self._better = list(rejects), better
        monkeypatch.setattr(walkthrough, "prepare", self.prepare)
        for name in ("train", "tune", "evaluate"):
            monkeypatch.setattr(runs, name, getattr(self, name))

    @property
    def named(self) -> list[tuple[str, str, bool]]:
        """Command, run and whether it was resumed, of each call but those of prepare."""
        return [(name, one.run, one.resume) for name, one in self.calls if name != "prepare"]

    def prepare(self, settings, console):
        self.calls.append(("prepare", settings))
        return SimpleNamespace(counts={1: Counter({0: 3})}, rejects=self._rejects, made=3)

    def train(self, settings, console):
        run = self._begun("train", settings)
        self._store(settings)
        run.note(complete=True)

    def tune(self, settings, console):
        run = self._begun("tune", settings)
        self._store(settings)
        for model in architectures(settings.model):
            plain = Row.of("first", baseline(model), True, HISTORY, 1, "")
            other = [{**HISTORY[0], "val_uar": 0.5 if model in self._better else 0.3}]
            rows = ranked([plain, Row.of("second", baseline(model) | {"lr": 0.002}, False, other, 1, "")])
            test = {"best": {"uar": Interval(0.5, float("nan"), float("nan"))}}
            Leaderboard(model, "FACES", rows, 1, test, 2).write(Folder.at(run.path(model)))
        run.note(complete=True)

    def evaluate(self, settings, console):
        run = self._begun("evaluate", settings)
        names = [*([] if settings.model == "none" else architectures(settings.model)), *settings.tuned]
        clips = make_clips()
        evaluation = evaluate_all(clips, describe(clips, "made up", True), {name: LookupFit() for name in names})
        save_evaluation(Path(run.path()), evaluation)
        run.note(complete=True)

    def _begun(self, command, settings):
        self.calls.append((command, settings))
        run, _ = open_run(command, settings)
        run.note()
        if command in self.stops:
            self.stops.remove(command)
            raise KeyboardInterrupt
        return run

    @staticmethod
    def _store(settings):
        for model, name in runs.models_of(settings).items():
            loaded = small_model(model, metrics={"uar": 0.4})
            save_model(f"{settings.root}/models", name, loaded.model.state_dict(), loaded.record)
