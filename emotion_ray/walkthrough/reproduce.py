"""The baseline's results, reproduced: from RAVDESS's archives to a report, its published figures beside ours."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table

from emotion_ray.data.plan import Plan, make_plan
from emotion_ray.data.provenance import RAVDESS
from emotion_ray.data.ravdess import Code
from emotion_ray.data.storage import Folder
from emotion_ray.distributed.leaderboard import Leaderboard
from emotion_ray.distributed.prepare import prepare
from emotion_ray.errors import EmotionRayError, Stopped
from emotion_ray.learning.predictions import DataFacts
from emotion_ray.learning.report import PUBLISHED
from emotion_ray.learning.run_folder import RECORD, run_folder
from emotion_ray.learning.summaries import Summary
from emotion_ray.settings import CropSettings, ReproduceSettings
from emotion_ray.settings.checks import home_filled_in
from emotion_ray.walkthrough.estimate import estimate, measure_speeds, planned_trainings
from emotion_ray.walkthrough.runs import evaluated, is_done, left_to_do, models_of, swept, trained
from emotion_ray.walkthrough.stages import Made, Stages

BASELINE_ACTORS, BASELINE_EPOCHS = tuple(range(1, 11)), 30


@dataclass(frozen=True, eq=False)
class Reproduction:
    """What came of it.

    Attributes:
        data: which clips.
        summaries: all figures of the evaluation.
        made: what is there now.
        published: of each of the baseline's models, the accuracy on its validation clips, such as "80%".
        as_the_baseline: whether data and settings are the baseline's, so that the figures compare.
    """

    data: DataFacts
    summaries: list[Summary]
    made: list[Made]
    published: dict[str, str]
    as_the_baseline: bool

    def table(self) -> Table:
        """The published figures beside ours."""
        table = Table(title=f"published on RAVDESS, and found on {self.data.label}", box=SIMPLE_HEAD)
        for name in ("model", "published accuracy", "accuracy, random split, last epoch", "UAR, unseen actors"):
            table.add_column(name, justify="left" if name == "model" else "right")
        for model in dict.fromkeys(one.model for one in self.summaries):
            accuracy, unseen = self._figure(model, "random", "last"), self._figure(model, "actor", "best")
            table.add_row(model, self.published.get(model, ""), f"{accuracy.war.value:.1%}", f"{unseen.uar.value:.1%}")
        return table

    def in_words(self) -> str:
        """Whether the two can be compared, and what to mind."""
        minded = (
            "The published accuracy is of a random split, the same actors on both sides, at the last epoch: hold it "
            "against the column beside it, not against unseen actors. Tuned settings were chosen by clips of actors "
            "that other folds test, which flatters them a little; the sweep's own test clips, above, chose nothing."
        )
        if self.as_the_baseline:
            return minded
        return f"Not the baseline's data and settings ({self.data.label}): the two can't be compared. {minded}"

    def _figure(self, model: str, protocol: str, choice: str) -> Summary:
        wanted = (model, protocol, choice, "true")
        return next(s for s in self.summaries if (s.model, s.protocol, s.choice, s.labels) == wanted)


def reproduce(settings: ReproduceSettings, console: Console) -> Reproduction:
    """Downloads and prepares, trains both models at the baseline's settings, tunes around them, evaluates, reports.

    Says before how long that takes, and asks where somebody is there to answer. Killed at any moment and called
    again it goes on: what is done is not done again.

    Raises:
        EmotionRayError: a stage can't do its work, or what is there from before is not of these settings.
        Stopped: the answer was no.
    """
    wanted = make_plan(settings.prepare)
    wanted.take_stock(Folder.at(settings.train.clips_folder))
    actors = sorted(wanted.choice.actors)
    _check_others(wanted, actors, settings.train.clips_folder)
    _say_what_it_takes(settings, wanted, console)
    stages = Stages(console, 4)
    with stages.stage(f"download and prepare: actors {settings.actors}, on Ray Data"):
        _prepare(settings, console)
    with stages.stage("train: both models at the baseline's settings"):
        trained(settings.train, console)
    with stages.stage("tune: a sweep of each model around the baseline, on Ray Tune"):
        boards = swept(settings.tune, console)
    better = _better(settings, boards, console)
    with stages.stage("evaluate by both protocols, and report"):
        report, evaluation, summaries = evaluated(settings.evaluate(better), console)
    return Reproduction(
        evaluation.data,
        summaries,
        _made(settings, report),
        {name.lower(): accuracy for name, _, accuracy, *_ in PUBLISHED},
        evaluation.data.name == RAVDESS.name
        and (tuple(actors), settings.epochs) == (BASELINE_ACTORS, BASELINE_EPOCHS)
        and settings.prepare.crop in (CropSettings(), CropSettings(detector="exact")),
    )


def _check_others(wanted: Plan, actors: Sequence[int], folder: str) -> None:
    """Refuses a folder with clips of others, which would be trained and tested on too."""
    for clip_id in sorted(wanted.held):
        try:
            known = Code.parse(clip_id).actor in actors
        except ValueError:
            known = False
        if not known:
            raise EmotionRayError(f"{folder} holds other clips too, such as {clip_id}: give another folder by --clips")


def _say_what_it_takes(settings: ReproduceSettings, wanted: Plan, console: Console) -> None:
    """Shows the estimate, and asks for consent where somebody is there to give it."""
    trainings = planned_trainings(settings, sorted(wanted.choice.actors))
    done = {
        "train": left_to_do("train", settings.train) is None,
        "tune": left_to_do("tune", settings.tune) is None,
        "evaluate": is_done(settings.evaluate(())),
    }
    left = {stage: those for stage, those in trainings.items() if not done[stage]}
    if not (wanted.work() or left):
        console.print("all stages are done; this is what came of them")
        return
    if left:
        console.print("measuring how fast this machine trains")
    takes = estimate(settings, wanted, left, measure_speeds(settings) if left else {})
    console.print(takes.table())
    root = home_filled_in(settings.root).absolute()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    console.print(
        f"The disk of {root} has {free / 1e9:.1f} GB free. Early stopping of trials saves about half of tuning. "
        "Stopped at any moment, the same command goes on.",
        soft_wrap=True,
    )
    if not settings.yes and sys.stdin.isatty() and not Confirm.ask("begin?", console=console, default=True):
        raise Stopped("nothing was begun")


def _prepare(settings: ReproduceSettings, console: Console) -> None:
    if Folder.at(run_folder(settings.train)).exists(RECORD):
        # Takes whose worker died would be tried once more, and the runs that were begun without them be refused.
        console.print("prepared before: the clips stay as they are")
        return
    done = prepare(settings.prepare, console)
    lost = [reject for reject in done.rejects if reject.stage == "fetch"]
    if lost:
        raise EmotionRayError(f"not everything could be had ({lost[0].message}): run the same command again")
    held = sum(row.total() for row in done.counts.values())
    console.print(f"{held} clips of {len(done.counts)} actors; {len(done.rejects)} takes could not be used")


def _better(settings: ReproduceSettings, boards: dict[str, Leaderboard], console: Console) -> tuple[str, ...]:
    """The tuned models whose settings are not the baseline's; the others are evaluated as the baseline anyway."""
    names = models_of(settings.tune)
    for model, board in boards.items():
        if board.best.baseline:
            console.print(f"{model}: no trial was better than the baseline, so that there is nothing tuned to evaluate")
    return tuple(names[model] for model, board in boards.items() if not board.best.baseline)


def _made(settings: ReproduceSettings, report: Path) -> list[Made]:
    command = f"--root {shlex.quote(settings.root)}"
    clips, browser = settings.train.clips_folder, "opens in any browser"
    return [
        Made("clips", clips, "Parquet, read by pyarrow, pandas, DuckDB"),
        Made("faces", f"{clips}/contact_sheet.png", browser),
        Made("leaderboards", run_folder(settings.tune), "for each model JSON and pictures"),
        Made("models", f"{settings.root}/models", f"emotion-ray predict VIDEO {command}; emotion-ray serve {command}"),
        Made("report", str(report), browser),
    ]
