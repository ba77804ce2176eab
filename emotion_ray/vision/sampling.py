"""Which frame of a video stands for a time: the one rule for clips and for live use."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

SAME_TIME_S = 1e-3  # FLV and Matroska round a frame's time to a millisecond

Item = TypeVar("Item")


class NearestInTime(Generic[Item]):
    """Gives each of some times the item nearest to it, as items come in, each with its own time.

    Of two that are equally near, the later one. Nothing is waited for longer than to the first item that does
    not lie before the time asked for.

    Args:
        times: in seconds, ascending; they may go on for ever.
    """

    def __init__(self, times: Iterable[float]):
        self._times = iter(times)
        self._time = next(self._times, None)
        self._before: tuple[float, Item] | None = None

    @property
    def done(self) -> bool:
        """Whether all times have their item."""
        return self._time is None

    def take(self, time: float, item: Item) -> Iterator[tuple[float, Item]]:
        """The next item, at `time` in seconds, not before the last one's: the times that now have theirs, and it."""
        while self._time is not None and time > self._time - SAME_TIME_S:
            earlier = self._before is not None and self._time - self._before[0] < time - self._time
            yield self._time, self._before[1] if earlier else item
            self._time = next(self._times, None)
        self._before = time, item

    def rest(self, shown_s: float) -> Iterator[tuple[float, Item]]:
        """After the last item: the times that lie less than `shown_s` seconds behind it get it too."""
        while self._before is not None and self._time is not None and self._time < self._before[0] + shown_s:
            yield self._time, self._before[1]
            self._time = next(self._times, None)
