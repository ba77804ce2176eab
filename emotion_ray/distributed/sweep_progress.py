"""What a sweep shows while it goes on: a live table on a terminal, else a line for each trial that ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.table import Table

from emotion_ray.distributed.leaderboard import described
from emotion_ray.distributed.search_space import is_baseline

LINE_EVERY_S = 10.0
MOST_ROWS = 12

Listener = Callable[[list[Trial], Trial | None], None]
"""Hears, after each event and ten times a second, of all trials so far, and which of them has just ended."""

_listeners: list[Listener] = []


class Events(tune.Callback):
    """Passes Ray Tune's events on to who listens now.

    Tune stores its callbacks with the sweep, and a sweep that is resumed can't be given other ones: so this one
    holds nothing.
    """

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        _tell(trials, None)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        _tell(trials, trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        _tell(trials, trial)


def _tell(trials: list[Trial], ended: Trial | None) -> None:
    for listener in _listeners:
        listener(trials, ended)


@contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Has the events of sweeps in this process told to the listeners while the block runs."""
    _listeners.extend(listeners)
    try:
        yield
    finally:
        for listener in listeners:
            _listeners.remove(listener)


class Display:
    """A listener that shows a sweep.

    Args:
        console: where.
        architecture, trials, epochs: of the sweep.
    """

    def __init__(self, console: Console, architecture: str, trials: int, epochs: int):
        self._console, self._architecture = console, architecture
        self._trials, self._epochs = trials, epochs
        self._ended: set[str] = set()
        self._began = self._said = time.monotonic()
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, trials: list[Trial], ended: Trial | None) -> None:
        self._ended |= {trial.trial_id for trial in trials if trial.is_finished()}
        if ended is not None:
            self._ended.add(ended.trial_id)
        if self._live:
            self._live.update(self._table(trials))
        elif ended is not None:
            self._print(f"{self._state(trials)}; {self._line(ended)}")
        elif time.monotonic() - self._said > LINE_EVERY_S:
            self._print(self._state(trials))

    def _print(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(text, soft_wrap=True)

    def _state(self, trials: list[Trial]) -> str:
        running = [trial for trial in trials if trial.status == Trial.RUNNING and trial.trial_id not in self._ended]
        waiting = sum(trial.status == Trial.PENDING for trial in trials)
        merits = [trial.last_result["val_uar"] for trial in trials if trial.last_result.get("val_uar") is not None]
        best = f", highest UAR now {max(merits):.1%}" if merits else ""
        wait = f", {waiting} starting or waiting for free CPUs or GPUs" if waiting else ""
        spent = time.monotonic() - self._began
        return f"{len(self._ended)}/{self._trials} trials, {len(running)} running{wait}{best}, {spent:.0f} s"

    def _line(self, trial: Trial) -> str:
        result = trial.last_result
        what = "baseline" if is_baseline(self._architecture, trial.config) else trial.trial_id
        if result.get("failed") or trial.status == Trial.ERROR:
            return f"{what} failed: {result.get('failed') or 'its process died'}"
        return f"{what} ended at epoch {result.get('epoch', 0)}, UAR {result.get('val_uar', float('nan')):.1%}"

    def _table(self, trials: list[Trial]) -> Table:
        table = Table(title=f"{self._architecture}: {self._state(trials)}", title_justify="left")
        for name in ("trial", "epoch", "UAR", "loss"):
            table.add_column(name, justify="right")
        table.add_column("other than the baseline", no_wrap=True, overflow="ellipsis")
        first = sorted(trials, key=lambda trial: (trial.trial_id in self._ended, -trial.last_result.get("merit", -2)))
        for trial in first[:MOST_ROWS]:
            result = trial.last_result
            table.add_row(
                trial.trial_id,
                f"{result.get('epoch', 0)}/{self._epochs}{'' if trial.trial_id not in self._ended else ' ended'}",
                f"{result['val_uar']:.1%}" if "val_uar" in result else "",
                f"{result['val_loss']:.3f}" if "val_loss" in result else "",
                described(self._architecture, trial.config) or "the baseline",
            )
        return table
