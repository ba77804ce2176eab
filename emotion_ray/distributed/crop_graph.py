"""The Ray Data graph of preparing: fetch archives → crop takes → write shards, all streaming.

What flows is one object a row, in the column "item": `Work` into the fetching; then `Planned`, `Encoded`,
`RejectedTake` and `Failed`; after the cropping `Clip` in place of `Encoded`; after the writing `Written` in
place of `Clip`. Encoded takes travel between tasks, decoded frames never.

One take is one block and one task, so that a take that kills its worker takes no neighbour with it. Nothing is
tried again here: who runs the graph compares what came out with what was planned, and decides.
"""

import faulthandler
import functools
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ray
import torch
from ray.data import DataContext, ExecutionResources, TaskPoolStrategy

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.archives import Archive
from emotion_ray.data.clips import Clip, write_shards
from emotion_ray.data.download import download
from emotion_ray.data.http_transfer import shown
from emotion_ray.data.plan import Work
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import Choice, RejectedTake, Take, read_take, takes_in_archive
from emotion_ray.errors import EmotionRayError, Reject
from emotion_ray.settings import CropSettings
from emotion_ray.vision.clipping import make_clip
from emotion_ray.vision.mtcnn import MTCNN

CLIPS_A_WRITE = 32  # 22 MB of crops: large enough for a shard, small enough to lose
BYTES_IN_FLIGHT_A_WORKER = 64 * 2**20  # encoded takes and clips that wait: some ten of each
COUNTED_BYTES = 4 * 2**20  # of a download, told at once
LAST_WORD_S = 5.0  # for a worker that gives up a take to say so


@dataclass(frozen=True)
class Planned:
    """The wanted takes of an archive, listed once it was here."""

    archive: str
    takes: list[Take]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A take with the bytes of its video."""

    take: Take
    content: bytes
    crc32: int


@dataclass(frozen=True)
class Written:
    """Clips that are published in shards."""

    clip_ids: list[str]


@dataclass(frozen=True)
class Failed:
    """Why nothing can go on, for the person."""

    message: str


@dataclass(frozen=True)
class Graph:
    """Runs work through the graph.

    Attributes:
        folder: where the shards go.
        cache: folder of the archives, on each machine.
        tally: the actor that counts, see `progress.Tally`.
        workers: takes cropped at a time, a CPU each.
        downloads: archives fetched at a time.
        take_timeout_s: seconds after which a take's worker is ended.
    """

    folder: Folder
    cache: Path
    crop: CropSettings
    choice: Choice
    tally: object = field(repr=False)
    workers: int
    downloads: int
    take_timeout_s: float

    def run(self, work: list[Work]) -> Iterator[Planned | RejectedTake | Written | Failed]:
        """What comes of the work, as it comes. Takes whose worker died are not among it."""
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it shows a traceback for each dead worker
        warnings.filterwarnings("ignore", "The maximum number of concurrent tasks", UserWarning)  # fewer will do
        with DataContext.current(self._context()), warnings.catch_warnings():
            # Ray 2.60 deprecates the only way to give a task's max_retries, and names no other
            warnings.simplefilter("ignore")
            results = self._graph(work)
        for row in results.iter_rows():
            yield row["item"]

    def _context(self) -> DataContext:
        context = DataContext.get_current().copy()
        context.target_max_block_size = 1  # bytes: every row becomes a block, every take a task of its own
        context.max_errored_blocks = -1  # a dead worker's take is missed, and found missing, by the driver
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.resource_limits = ExecutionResources.for_limits(
            object_store_memory=self.workers * BYTES_IN_FLIGHT_A_WORKER
        )
        return context

    def _graph(self, work: list[Work]) -> ray.data.Dataset:
        items = ray.data.from_items([{"item": one} for one in work], override_num_blocks=len(work))
        return (
            items.flat_map(
                self._fetch,
                num_cpus=0,
                compute=TaskPoolStrategy(min(self.downloads, len(work))),
                ray_remote_args_fn=_once,
            )
            .map(self._crop, num_cpus=1, compute=TaskPoolStrategy(self.workers), ray_remote_args_fn=_once)
            .map_batches(
                self._write,
                batch_size=CLIPS_A_WRITE,
                batch_format="numpy",
                num_cpus=0,
                compute=TaskPoolStrategy(2),
                ray_remote_args_fn=_once,
            )
        )

    def _fetch(self, row: dict) -> Iterator[dict]:
        work: Work = row["item"]
        takes, archive = list(work.takes), None
        try:
            if work.archive is not None:
                archive = self._downloaded(work.archive)
                found, rejects = takes_in_archive(archive, self.choice, shown(work.archive.url))
                yield {"item": Planned(work.archive.name, found)}
                for reject in rejects:
                    yield {"item": self._rejected(reject)}
                takes = [take for take in found if take.clip_id not in work.done]
                self._count(takes=len(takes))
        except Reject as reject:
            yield {"item": self._rejected(RejectedTake.of(work.archive.name, None, reject))}
        except EmotionRayError as error:
            yield {"item": Failed(str(error))}
            return
        for take in takes:
            try:
                content, crc32 = read_take(take, archive)
            except Reject as reject:
                yield {"item": self._rejected(RejectedTake.of(take.source, take.clip_id, reject))}
            else:
                yield {"item": Encoded(take, content, crc32)}

    def _downloaded(self, archive: Archive) -> Path:
        counted = 0

        def count(more: int) -> None:
            nonlocal counted
            counted += more
            if abs(counted) >= COUNTED_BYTES:
                self._count(bytes=counted)
                counted = 0

        path = download(archive, self.cache, on_progress=count)
        self._count(bytes=counted, archives=1)
        return path

    def _crop(self, row: dict) -> dict:
        item = row["item"]
        if not isinstance(item, Encoded):
            return row
        take = item.take
        detector = _detector()
        with self._watched(take):
            try:
                clip = make_clip(take, item.content, item.crc32, self.crop, detector)
            except Reject as reject:
                return {"item": self._rejected(RejectedTake.of(take.source, take.clip_id, reject))}
            except EmotionRayError as error:
                return {"item": Failed(str(error))}
            except Exception as error:  # a fault of ours with this take must not cost its neighbours
                fault = Reject("worker", "internal_error", f"{take.name}: {type(error).__name__}: {error}")
                return {"item": self._rejected(RejectedTake.of(take.source, take.clip_id, fault))}
        self._count(clips=1)
        return {"item": clip}

    @contextmanager
    def _watched(self, take: Take) -> Iterator[None]:
        """Ends this process where its block takes too long: a hang in the decoder can't be stopped from Python."""

        def give_up() -> None:
            try:
                ray.get(self.tally.give_up.remote(take), timeout=LAST_WORD_S)
            finally:
                if not timer.finished.is_set():  # else the take was done after all, and the next may be under way
                    os._exit(1)

        timer = threading.Timer(self.take_timeout_s, give_up)
        timer.daemon = True
        with Path(os.devnull).open("w") as nowhere:
            # should the hang hold the interpreter's lock, the timer's thread can't run: this one needs no lock
            faulthandler.dump_traceback_later(self.take_timeout_s + 2 * LAST_WORD_S, exit=True, file=nowhere)
            timer.start()
            try:
                yield
            finally:
                timer.cancel()
                faulthandler.cancel_dump_traceback_later()

    def _write(self, batch: dict) -> Iterator[dict]:
        items = list(batch["item"])
        clips = [item for item in items if isinstance(item, Clip)]
        results: list = [item for item in items if not isinstance(item, Clip)]
        if clips:
            try:
                write_shards(self.folder, clips)
                results.append(Written([clip.clip_id for clip in clips]))
            except EmotionRayError as error:
                results.append(Failed(str(error)))
        for result in results:
            yield {"item": [result]}

    def _rejected(self, reject: RejectedTake) -> RejectedTake:
        self._count(rejects=1)
        return reject

    def _count(self, **counts: int) -> None:
        self.tally.add.remote(**counts)


def _once() -> dict[str, int]:
    return {"max_retries": 0}


@functools.cache
def _detector() -> MTCNN:
    """The detector of this worker process, one thread."""
    keep_freed_memory()
    torch.set_num_threads(1)
    return MTCNN()
