"""What the stages of a long command tell while they go on, and the list of what they made that ends it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console


@dataclass(frozen=True)
class Made:
    """Something that is there now: what it is, its path, and how to open it."""

    what: str
    path: str
    how: str


class Stages:
    """Announces each stage with its number.

    Args:
        console: where.
        count: how many there will be.
    """

    def __init__(self, console: Console, count: int):
        self._console, self._count = console, count
        self._number = 0

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Says what begins, and at the end of the block how long it took."""
        self._number += 1
        place = f"{self._number}/{self._count}"
        self._console.print(f"\n{place} {what}", style="bold", soft_wrap=True)
        began = time.monotonic()
        yield
        self._console.print(f"{place} done in {duration(time.monotonic() - began)}", soft_wrap=True)


def show_made(made: Sequence[Made], console: Console) -> None:
    """A line for each thing, never broken, so that paths and commands can be copied."""
    width = max(len(one.what) for one in made)
    console.print("\nwhat is there now", style="bold")
    for one in made:
        console.print(f"  {one.what:<{width}}  {one.path}  ({one.how})", soft_wrap=True)


def duration(seconds: float) -> str:
    """Such as 40 s, 12 min or 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
