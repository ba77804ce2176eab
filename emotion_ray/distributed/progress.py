"""What a long run tells while it goes on: tasks report to an actor, the driver draws."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from emotion_ray.data.takes import Take

LINE_EVERY_S = 10.0  # where the output is no terminal


@ray.remote(num_cpus=0)
class Tally:
    """Counts what tasks report. Losing it loses the display, not the work."""

    def __init__(self):
        self._counts: Counter[str] = Counter()
        self._given_up: list[Take] = []

    def begin(self, takes: int, archives: int) -> None:
        """Begins a round with so much to do; archives add their takes when they are listed."""
        self._counts["takes"] = self._counts["clips"] + self._counts["rejects"] + takes
        self._counts["archives_wanted"] = self._counts["archives"] + archives

    def add(self, **counts: int) -> None:
        self._counts.update(counts)

    def read(self) -> dict[str, int]:
        return dict(self._counts)

    def give_up(self, take: Take) -> None:
        """Takes down a take that took too long; its worker ends itself and can't say so later."""
        self._given_up.append(take)
        self._counts["rejects"] += 1

    def given_up(self) -> list[Take]:
        return self._given_up


@contextmanager
def shown(tally, console: Console) -> Iterator[None]:
    """Draws a tally of preparing while the block runs: a live bar on a terminal, else a line every 10 s."""
    done = threading.Event()
    draw = _draw_bar if console.is_terminal else _print_lines
    thread = threading.Thread(target=draw, args=(tally, console, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _draw_bar(tally, console: Console, done: threading.Event) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("takes", total=None)
        for counts, rate in _readings(tally, done, every_s=0.5):
            progress.update(
                bar,
                description=_described(counts, rate),
                completed=counts.get("clips", 0) + counts.get("rejects", 0),
                total=counts.get("takes") or None,
            )


def _print_lines(tally, console: Console, done: threading.Event) -> None:
    for counts, rate in _readings(tally, done, every_s=LINE_EVERY_S):
        finished, takes = counts.get("clips", 0) + counts.get("rejects", 0), counts.get("takes", 0)
        left = f", {(takes - finished) / rate:.0f} s left" if rate and takes > finished else ""
        console.print(f"{finished}/{takes} takes: {_described(counts, rate)}{left}", highlight=False)


def _readings(tally, done: threading.Event, every_s: float) -> Iterator[tuple[dict[str, int], float]]:
    """The tally and the clips a second since there were none, now and then and once more at the end."""
    began = time.monotonic()
    finished = False
    while not finished:
        finished = done.wait(every_s)
        try:
            counts = ray.get(tally.read.remote(), timeout=5)
        except (ray.exceptions.RayError, TimeoutError):
            continue
        now, clips = time.monotonic(), counts.get("clips", 0)
        began = began if clips else now
        yield counts, clips / (now - began) if clips else 0.0


def _described(counts: dict[str, int], rate: float) -> str:
    parts = []
    if counts.get("archives_wanted"):
        parts.append(f"{counts.get('archives', 0)}/{counts['archives_wanted']} archives")
        parts.append(f"{counts.get('bytes', 0) / 1e6:,.0f} MB")
    parts += [f"{counts.get('clips', 0)} clips", f"{rate:.1f}/s", f"{counts.get('rejects', 0)} rejects"]
    return ", ".join(parts)
