"""The first stage of preparing: archives are fetched and listed, and takes are read where they have to travel.

A row from here to the last stage has two columns: "item", one of the objects below, and "content", the video of
an `Encoded`. It is a column of its own since Arrow moves bytes without a copy, and pickles objects with several.

Nothing here imports PyTorch: its workers are many, and stay small.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.archives import Archive
from emotion_ray.data.download import download
from emotion_ray.data.http_transfer import shown
from emotion_ray.data.plan import Work
from emotion_ray.data.takes import Choice, RejectedTake, Take, internal_error, read_take, takes_in_archive
from emotion_ray.errors import EmotionRayError, Reject

COUNTED_BYTES = 4 * 2**20  # of a download, told at once


@dataclass(frozen=True)
class Planned:
    """The wanted takes of an archive, listed once it was here."""

    archive: str
    takes: list[Take]


@dataclass(frozen=True)
class Encoded:
    """A take whose video is in the row's other column."""

    take: Take
    crc32: int


@dataclass(frozen=True)
class OnDisk:
    """A take that is read where it is cropped: from its own file, or from an archive's."""

    take: Take
    archive: Path | None


@dataclass(frozen=True)
class Failed:
    """Why nothing can go on, for the person."""

    message: str


@dataclass(frozen=True)
class FetchStage:
    """Turns `Work` into `Planned`, `Encoded` or `OnDisk`, `RejectedTake` and `Failed`.

    Attributes:
        cache: folder of the archives, on each machine.
        one_disk: whether all stages run on this machine. Takes need not travel then, nor fill Ray's memory.
        tally: the actor that counts, see `progress.Tally`.
    """

    cache: Path
    choice: Choice
    one_disk: bool
    tally: object = field(repr=False)

    def fetch(self, row: dict) -> Iterator[dict]:
        """Rows of one `Work`, each as soon as it is there."""
        keep_freed_memory()
        for item, content in self._items(row["item"]):
            yield {"item": item, "content": content}

    def _items(self, work: Work) -> Iterator[tuple[object, bytes]]:
        takes, archive = list(work.takes), None
        try:
            if work.archive is not None:
                archive = self._downloaded(work.archive)
                found, rejects = takes_in_archive(archive, self.choice, shown(work.archive.url))
                yield Planned(work.archive.name, found), b""
                for reject in rejects:
                    yield self._rejected(reject), b""
                takes = [take for take in found if take.clip_id not in work.done]
                self.tally.add.remote(takes=len(takes))
        except Reject as reject:
            yield self._rejected(RejectedTake.of(work.archive.name, None, reject)), b""
        except EmotionRayError as error:
            yield Failed(str(error)), b""
            return
        for take in takes:
            if self.one_disk:
                yield OnDisk(take, archive), b""
                continue
            try:
                content, crc32 = read_take(take, archive)
            except Reject as reject:
                yield self._rejected(RejectedTake.of(take.source, take.clip_id, reject)), b""
            except Exception as error:  # a fault of ours with this take must not cost its neighbours
                reject = internal_error(take, error)
                yield self._rejected(RejectedTake.of(take.source, take.clip_id, reject)), b""
            else:
                yield Encoded(take, crc32), content

    def _downloaded(self, archive: Archive) -> Path:
        counted = 0

        def count(more: int) -> None:
            nonlocal counted
            counted += more
            if abs(counted) >= COUNTED_BYTES:
                self.tally.add.remote(bytes=counted)
                counted = 0

        path = download(archive, self.cache, on_progress=count)
        self.tally.add.remote(bytes=counted, archives=1)
        return path

    def _rejected(self, reject: RejectedTake) -> RejectedTake:
        self.tally.add.remote(rejects=1)
        return reject
