"""Heavy work, off the event loop: in threads, a bounded number at a time, each with a time limit."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from emotion_ray.service.metrics import Metrics
from emotion_ray.service.problems import Problem, busy

GRACE_S = 5.0  # how much longer than its limit a job may take to notice it

Result = TypeVar("Result")


class Job:
    """One piece of work, which has to ask now and then whether it may go on."""

    def __init__(self, limit_s: float):
        self.limit_s = limit_s
        self.began = time.monotonic()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Nobody waits for the result any more."""
        self._cancelled.set()

    def check(self) -> None:
        """Ends the work when its time is up or nobody waits for it.

        Raises:
            Problem: 422, the time is up.
        """
        if self._cancelled.is_set() or self.seconds > self.limit_s:
            raise Problem(422, "time_limit", f"The work took longer than {self.limit_s:g} s: send a shorter video.")

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began


class Places:
    """A number of places; who finds none free is to come again.

    Args:
        most: places.
        full: what to tell then; `{taken}` in it stands for their number.
    """

    def __init__(self, most: int, full: str):
        self._most = most
        self._full = full
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of them, while the block runs.

        Raises:
            Problem: 429, there is none.
        """
        if self.taken >= self._most:
            raise busy(self._full.format(taken=self.taken))
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Work:
    """Runs jobs in threads of its own, in the order in which they came.

    A job that hangs inside a native library can't be stopped from Python. Its caller gets a problem, it keeps its
    thread, and `hangs` says so: who runs the process is to end it.

    Args:
        at_once: jobs, and threads; 0 takes none.
        limit_s: of a job, in seconds.
        metrics: told how many jobs wait.
    """

    def __init__(self, at_once: int, limit_s: float, metrics: Metrics):
        self._limit_s = limit_s
        self._metrics = metrics
        self._waiting = 0
        self._turns = asyncio.Semaphore(at_once)
        self._running: set[Job] = set()
        self._threads = ThreadPoolExecutor(max(at_once, 1), thread_name_prefix="work")

    async def run(self, function: Callable[[Job], Result]) -> Result:
        """Runs a function in a thread when its turn has come, and gives what it returns.

        Raises:
            Problem: 422, it took too long; and whatever the function raises.
        """
        with self._counted_as_waiting():
            await self._turns.acquire()
        job = Job(self._limit_s)
        self._running.add(job)
        future = asyncio.get_running_loop().run_in_executor(self._threads, function, job)
        future.add_done_callback(lambda done: self._ended(job, done))
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._limit_s + GRACE_S)
        except TimeoutError:
            raise Problem(422, "time_limit", f"The work took longer than {self._limit_s:g} s.") from None
        finally:
            job.cancel()

    @property
    def hangs(self) -> bool:
        """Whether a job runs on long after its time was up."""
        return any(job.seconds > job.limit_s + 2 * GRACE_S for job in tuple(self._running))

    def close(self) -> None:
        """Takes no more jobs, and does not wait for those that run."""
        for job in tuple(self._running):
            job.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _counted_as_waiting(self) -> Iterator[None]:
        self._waiting += 1
        self._metrics.waiting(self._waiting)
        try:
            yield
        finally:
            self._waiting -= 1
            self._metrics.waiting(self._waiting)

    def _ended(self, job: Job, future: asyncio.Future) -> None:
        self._running.discard(job)
        self._turns.release()
        if not future.cancelled():
            future.exception()  # seen, even where nobody waits for it any more
