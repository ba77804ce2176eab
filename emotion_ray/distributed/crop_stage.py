"""The second stage of preparing: takes become clips, each watched lest it hang."""

import faulthandler
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import ray
import torch

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clip
from emotion_ray.data.takes import RejectedTake, Take, internal_error, read_take
from emotion_ray.distributed.fetch_stage import Encoded, Failed, OnDisk
from emotion_ray.errors import EmotionRayError, Reject
from emotion_ray.settings import CropSettings
from emotion_ray.vision.clipping import make_clip
from emotion_ray.vision.mtcnn import MTCNN

LAST_WORD_S = 5.0  # for a worker that gives up a take to say so


@dataclass(frozen=True)
class CropStage:
    """Turns `Encoded` and `OnDisk` into `Clip`, `RejectedTake` or `Failed`, and lets all else pass.

    Attributes:
        tally: the actor that counts, see `progress.Tally`.
        take_timeout_s: seconds after which a take's worker is ended.
    """

    crop: CropSettings
    take_timeout_s: float
    tally: object = field(repr=False)

    def clips(self, table: pa.Table) -> Iterator[dict]:
        """A row for each of the table's, as soon as it is done."""
        for item, content in zip(table["item"].to_pylist(), table["content"], strict=True):
            yield {"item": [self._cropped(item, content) if isinstance(item, Encoded | OnDisk) else item]}

    def _cropped(self, item: Encoded | OnDisk, content: pa.Scalar) -> Clip | RejectedTake | Failed:
        take = item.take
        try:
            detector = _detector()
            with self._watched(take):
                travelled = isinstance(item, Encoded)
                video, crc32 = (content.as_py(), item.crc32) if travelled else read_take(take, item.archive)
                clip = make_clip(take, video, crc32, self.crop, detector)
        except Reject as reject:
            return self._rejected(take, reject)
        except EmotionRayError as error:
            return Failed(str(error))
        except Exception as error:  # a fault of ours with this take must not cost its neighbours
            return self._rejected(take, internal_error(take, error))
        self.tally.add.remote(clips=1)
        return clip

    def _rejected(self, take: Take, reject: Reject) -> RejectedTake:
        self.tally.add.remote(rejects=1)
        return RejectedTake.of(take.source, take.clip_id, reject)

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


@functools.cache
def _detector() -> MTCNN:
    """The detector of this worker process, one thread."""
    keep_freed_memory()
    torch.set_num_threads(1)
    return MTCNN()
