"""The Ray Data graph of preparing: fetch archives → crop takes → write shards, all streaming.

Encoded takes travel between machines, decoded frames never. Nothing is tried again here: who runs the graph compares
what came out with what was planned, and decides.
"""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ray
from ray.data import DataContext, ExecutionResources, TaskPoolStrategy

from emotion_ray.data.plan import Work
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import Choice, RejectedTake
from emotion_ray.distributed.crop_stage import CropStage
from emotion_ray.distributed.fetch_stage import Failed, FetchStage, Planned
from emotion_ray.distributed.shared_folder import Mark
from emotion_ray.distributed.write_stage import WriteStage, Written
from emotion_ray.settings import CropSettings

CLIPS_A_WRITE = 32  # 22 MB of crops: large enough for a shard, small enough to lose
WORKERS_FED = 16  # by one task that reads takes at hand, and by one that writes shards: both have time to spare
BYTES_IN_FLIGHT_A_WORKER = 192 * 2**20  # encoded takes and clips, waiting and worked on: with half, workers stand idle

# Sets the crop workers apart: no other stage takes one, which would make a new one import PyTorch anew. Memory in
# 2 MB pages makes a take 7% faster; glibc reads this before Python runs.
CROP_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True)
class Graph:
    """Runs work through the graph.

    Attributes:
        folder: where the shards go.
        mark: what every machine must find there; None where there is but one.
        cache: folder of the archives, on each machine.
        one_disk: whether all tasks run on this machine: then not even encoded takes travel.
        tally: the actor that counts, see `progress.Tally`.
        workers: crop tasks at a time, a CPU each.
        downloads: archives fetched at a time.
        take_timeout_s: seconds after which a take's worker is ended.
    """

    folder: Folder
    mark: Mark | None
    cache: Path
    one_disk: bool
    crop: CropSettings
    choice: Choice
    tally: object = field(repr=False)
    workers: int
    downloads: int
    take_timeout_s: float

    def run(self, work: list[Work], takes_a_task: int) -> Iterator[Planned | RejectedTake | Written | Failed]:
        """What comes of the work, as it comes. Takes whose worker died are not among it.

        Args:
            takes_a_task: cropped by one task. A take that kills its worker costs the others of its task too.
        """
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it shows a traceback for each dead worker
        warnings.filterwarnings("ignore", "The maximum number of concurrent tasks", UserWarning)  # fewer will do
        with DataContext.current(self._context()), warnings.catch_warnings():
            # Ray 2.60 deprecates the only way to give a task's max_retries, and names no other
            warnings.simplefilter("ignore")
            results = self._graph(work, takes_a_task)
        for row in results.iter_rows():
            yield row["item"]

    def _context(self) -> DataContext:
        context = DataContext.get_current().copy()
        context.target_max_block_size = 1  # bytes: every row becomes a block and goes on at once
        context.max_errored_blocks = -1  # a dead worker's takes are missed, and found missing, by the driver
        context.execution_no_progress_timeout_s = -1  # hours for an archive on a slow line are no fault
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.resource_limits = ExecutionResources.for_limits(
            object_store_memory=self.workers * BYTES_IN_FLIGHT_A_WORKER
        )
        return context

    def _graph(self, work: list[Work], takes_a_task: int) -> ray.data.Dataset:
        fetching = any(one.archive for one in work)
        tasks_beside = 1 + self.workers // WORKERS_FED
        fetch = FetchStage(self.cache, self.choice, self.one_disk, self.tally)
        crop = CropStage(self.crop, self.take_timeout_s, self.tally)
        items = ray.data.from_items([{"item": one} for one in work], override_num_blocks=len(work))
        return (
            items.flat_map(
                fetch.fetch,
                num_cpus=0,
                compute=TaskPoolStrategy(min(self.downloads if fetching else tasks_beside, len(work))),
                ray_remote_args_fn=_once,
            )
            .map_batches(
                crop.clips,
                batch_size=takes_a_task,
                batch_format="pyarrow",
                num_cpus=1,
                compute=TaskPoolStrategy(self.workers),
                ray_remote_args_fn=_once,
                runtime_env={"env_vars": CROP_ENVIRONMENT},
            )
            .map_batches(
                WriteStage(self.folder, self.mark).write,
                batch_size=CLIPS_A_WRITE,
                batch_format="numpy",
                num_cpus=0,
                compute=TaskPoolStrategy(tasks_beside),
                ray_remote_args_fn=_once,
            )
        )


def _once() -> dict[str, int]:
    return {"max_retries": 0}
