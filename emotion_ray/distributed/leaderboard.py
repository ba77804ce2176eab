"""What came of a sweep, trial by trial: the table that ends it. No Ray in here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from emotion_ray.data.storage import Folder
from emotion_ray.distributed.search_space import Config, changes
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.metrics import Interval
from emotion_ray.learning.resumable import History, best_epoch
from emotion_ray.models.card import FEW_ACTORS
from emotion_ray.models.record import finite

LEADERBOARD = "leaderboard.json"

Status = Literal["all epochs", "stopped early", "failed"]


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        trial: its id.
        baseline: whether it is the baseline, which ran all its epochs whatever came of it.
        status: how it ended; reason: why it failed, else empty.
        epochs: that it ran.
        best_epoch: from 1, the one that its figures are of; 0 of a trial without any.
        val_uar, val_accuracy: 0..1, val_loss: nats, on the validation clips; nan of a trial without an epoch.
        seconds: of all its epochs together.
        config: its settings, by their dotted names.
    """

    trial: str
    baseline: bool
    status: Status
    reason: str
    epochs: int
    best_epoch: int
    val_uar: float
    val_accuracy: float
    val_loss: float
    seconds: float
    config: Config

    @classmethod
    def of(cls, trial: str, config: Config, baseline: bool, history: History, epochs: int, reason: str) -> "Row":
        """The row of a trial that has ended, from its history; with a reason it has failed."""
        best = best_epoch(history) if history else {}
        status: Status = "failed" if reason else "all epochs" if len(history) == epochs else "stopped early"
        return cls(
            trial=trial,
            baseline=baseline,
            status=status,
            reason=reason,
            epochs=len(history),
            best_epoch=int(best.get("epoch", 0)),
            val_uar=best.get("val_uar", float("nan")),
            val_accuracy=best.get("val_accuracy", float("nan")),
            val_loss=best.get("val_loss", float("nan")),
            seconds=sum(record["train_seconds"] + record["val_seconds"] for record in history),
            config=config,
        )


@dataclass(frozen=True)
class Leaderboard:
    """All trials of a sweep, the best first: by validation UAR, among equals by loss; failed ones last.

    Attributes:
        architecture: "lstm" or "attention".
        data: what the clips are of, see `Provenance.label`.
        rows: of the trials.
        epochs: that a trial had where nothing stopped it.
        test: figures on clips that the sweep never saw: of the best trial, of the baseline, and the difference,
            each `war` and `uar` with its 95% interval.
        test_actors: that those clips are of.
    """

    architecture: str
    data: str
    rows: tuple[Row, ...]
    epochs: int
    test: dict[str, dict[str, Interval]]
    test_actors: int

    @property
    def best(self) -> Row:
        return self.rows[0]

    @property
    def epochs_run(self) -> int:
        return sum(row.epochs for row in self.rows)

    @property
    def epochs_due(self) -> int:
        """Epochs that would have been run without early stopping; a trial that failed would have failed there too."""
        return sum(row.epochs if row.status == "failed" else self.epochs for row in self.rows)

    @property
    def epochs_saved(self) -> float:
        """The share, 0..1, of those epochs that was not run."""
        return 1 - self.epochs_run / max(self.epochs_due, 1)

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain values; what is not finite is None."""
        content: dict[str, Any] = {
            "architecture": self.architecture,
            "data": self.data,
            "epochs": self.epochs,
            "epochs_run": self.epochs_run,
            "epochs_saved": round(self.epochs_saved, 4),
            "test_actors": self.test_actors,
            "test": {name: {key: asdict(one) for key, one in those.items()} for name, those in self.test.items()},
            "trials": [asdict(row) for row in self.rows],
        }
        return finite(content)

    def write(self, folder: Folder) -> None:
        """Writes `leaderboard.json`."""
        folder.publish(LEADERBOARD, json.dumps(self.as_dict(), indent=2, allow_nan=False).encode() + b"\n")

    def in_words(self) -> str:
        """What early stopping saved, and what the search was worth on clips that it never saw."""
        stopped = sum(row.status == "stopped early" for row in self.rows)
        text = (
            f"{len(self.rows)} trials, {stopped} stopped early: {self.epochs_run} of "
            f"{self.epochs_due} epochs were run, {self.epochs_saved:.0%} saved"
        )
        failed = [row for row in self.rows if row.status == "failed"]
        if failed:
            text += f"; {len(failed)} failed ({failed[0].reason})"
        if "baseline" not in self.test:
            return text
        if self.best.baseline:
            return f"{text}; no trial was better than the baseline: its model is kept"
        best, plain = (self.test[name]["uar"].value for name in ("best", "baseline"))
        gain = self.test["gain"]["uar"]
        rough = f", of {self.test_actors} actors, so rough" if self.test_actors < FEW_ACTORS else ""
        interval = f" (95% interval {gain.low:+.1%} to {gain.high:+.1%}{rough})" if gain.low == gain.low else ""
        gained = f"UAR {best:.1%}, the baseline {plain:.1%}: {gain.value:+.1%}{interval}"
        return f"{text}; on test clips of {self.data} {gained}"

    def table(self, most: int = 15) -> Table:
        """The first rows, and the baseline's wherever it stands."""
        table = Table(title=f"{self.architecture}: trials by validation UAR on {self.data}", box=SIMPLE_HEAD)
        for name in ("", "trial", "UAR", "loss", "epochs"):
            table.add_column(name, justify="right")
        table.add_column("other than the baseline", overflow="fold")
        for place, row in enumerate(self.rows, 1):
            if place <= most or row.baseline:
                table.add_row(*self._cells(place, row), style="bold" if row.baseline else None)
        return table

    def _cells(self, place: int, row: Row) -> list[str]:
        if row.status == "failed":
            return [str(place), row.trial, "failed", "", f"{row.epochs}/{self.epochs}", row.reason]
        what = "the baseline" if row.baseline else described(self.architecture, row.config)
        return [
            str(place),
            row.trial,
            f"{row.val_uar:.1%}",
            f"{row.val_loss:.3f}",
            f"{row.epochs}/{self.epochs}",
            what,
        ]


def ranked(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The best first.

    Raises:
        EmotionRayError: no trial has come through.
    """
    through = [row for row in rows if row.status != "failed"]
    if not through:
        reason = rows[0].reason if rows else "no trial was begun"
        raise EmotionRayError(
            f"no trial came through ({reason}): mend that and give --resume, or give other settings and another --run"
        )
    failed = sorted((row for row in rows if row.status == "failed"), key=lambda row: row.trial)
    return (*sorted(through, key=lambda row: place(vars(row), row.trial)), *failed)


def place(epoch: Mapping[str, Any], trial: str) -> tuple[float, float, str]:
    """By what trials are put in order, the least first: their best epochs' UAR and loss; the id decides a tie."""
    return -epoch["val_uar"], epoch["val_loss"], trial


def described(architecture: str, config: Config) -> str:
    """What a trial sets otherwise than the baseline, on one line."""
    values = changes(architecture, config)
    return ", ".join(
        f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
