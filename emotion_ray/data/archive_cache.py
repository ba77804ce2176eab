"""The cache folder: whole archives that were verified, and beside them what is still on its way.

For an archive `A.zip` the folder holds `A.zip` (only ever whole and verified) and `A.zip.ok` (what was
verified, so that 13 GB are not hashed at each start); on the way, `A.zip.part` and `A.zip.part.json` (where
it comes from). `A.zip.lock` lets one process fetch at a time.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emotion_ray.data.archives import Archive
from emotion_ray.errors import EmotionRayError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class MismatchError(Exception):
    """The bytes here are not the archive's, and more bytes will not mend it."""

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class CacheEntry:
    """An archive's place in a cache folder, which is made if it is not there.

    Args:
        whole: where the whole file lies, if not in the cache.

    Raises:
        EmotionRayError: the archive's name is no plain file name, or the folder cannot be made.
    """

    def __init__(self, cache: Path, archive: Archive, whole: Path | None = None):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,199}", archive.name):
            raise EmotionRayError(f"{archive.name[:99]!r} names no archive; use letters, digits and . _ - only")
        with disk_errors(cache):
            cache.mkdir(parents=True, exist_ok=True)
        self.archive = archive
        self.whole = whole or cache / archive.name
        self.part = cache / f"{archive.name}.part"
        self.origin = cache / f"{archive.name}.part.json"
        self._ok = cache / f"{archive.name}.ok"
        self._lock = cache / f"{archive.name}.lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until no other thread or process of this machine holds the entry, and holds it."""
        with disk_errors(self._lock.parent):
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with disk_errors(self._lock.parent):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def is_remembered(self) -> bool:
        """Whether the whole file is there and is, by size and time, the one that was verified."""
        try:
            status, ok = self.whole.stat(), json.loads(self._ok.read_text())
            same = (ok["size"], ok["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
            expected = (self.archive.bytes or ok["size"], self.archive.md5 or ok["md5"])
            return same and expected == (ok["size"], ok["md5"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def verify(self) -> None:
        """Reads the whole file and remembers that it is right.

        Raises:
            MismatchError: it is not; reason wrong_length or md5_mismatch.
            OSError: it cannot be read.
        """
        size = self.whole.stat().st_size
        check(self.archive, size, None)
        with self.whole.open("rb") as file:
            md5 = hashlib.file_digest(file, _md5).hexdigest()
        check(self.archive, size, md5)
        self._remember(self.whole, md5)

    def keep(self, part: "Part") -> None:
        """Makes a verified part the whole file, all or nothing.

        The note comes first: were we killed between the two, it speaks of a file that is not there yet.
        """
        with disk_errors(self.part.parent):
            part.sync()
            self._remember(self.part, part.md5())
            self.part.replace(self.whole)
            self.origin.unlink(missing_ok=True)

    def discard_part(self) -> None:
        with disk_errors(self.part.parent):
            self.part.unlink(missing_ok=True)
            self.origin.unlink(missing_ok=True)

    def bytes_missing(self) -> int:
        """How many bytes are still to come, as far as is known."""
        if self.archive.bytes is None or self.is_remembered():
            return 0
        if self.archive.md5 and _size(self.whole) == self.archive.bytes:
            return 0  # put there by hand: it is verified, not fetched
        return max(0, self.archive.bytes - _size(self.part))

    def _remember(self, path: Path, md5: str) -> None:
        status = path.stat()
        note = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "md5": md5}
        with disk_errors(self._ok.parent):
            self._ok.write_text(json.dumps(note))


def _size(path: Path) -> int:
    """Bytes; 0 of what is not there, or was just renamed by another process."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Part:
    """The `.part` file of an entry whose lock is held: what has come so far, hashed as it comes.

    Args:
        on_progress: called with each change of `size`, in bytes; negative when begun anew.

    Attributes:
        folder: the cache folder.
        size: bytes that are here.
        total: bytes of the whole as the server gave it, or None.
        validator: the server's strong ETag or Last-Modified for the bytes that are here, or None.
    """

    def __init__(self, entry: CacheEntry, source: str, on_progress: Callable[[int], None]):
        self._entry, self._source, self._on_progress = entry, source, on_progress
        self.folder = entry.part.parent
        self.size, self.total, self.validator = 0, None, None
        with disk_errors(self.folder):
            self._file = os.fdopen(os.open(entry.part, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self._hash = hashlib.file_digest(self._file, _md5)
        self.size = self._file.tell()
        on_progress(self.size)
        try:
            origin = json.loads(entry.origin.read_text())
            same_source = origin["source"] == source
            self.total, self.validator = origin["total"], origin["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            same_source = False
        if self.size and not same_source:
            self.restart()

    def append(self, data: bytes) -> None:
        with disk_errors(self.folder):
            view = memoryview(data)
            while view:
                written = self._file.write(view)
                self._hash.update(view[:written])
                self.size += written
                view = view[written:]
        self._on_progress(len(data))

    def restart(self) -> None:
        """Drops what is here."""
        with disk_errors(self.folder):
            self._file.seek(0)
            self._file.truncate()
        self._on_progress(-self.size)
        self._hash = _md5()
        self.size, self.total, self.validator = 0, None, None

    def begin(self, total: int, validator: str | None) -> None:
        """Notes which file the bytes to come are of, so that a later process may go on with them."""
        self.total, self.validator = total, validator
        note = {"source": self._source, "total": total, "validator": validator}
        with disk_errors(self.folder):
            self._entry.origin.write_text(json.dumps(note))

    def md5(self) -> str:
        return self._hash.hexdigest()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
        if not self.size:
            self._entry.discard_part()


def check(archive: Archive, size: int, md5: str | None) -> None:
    """Raises MismatchError where a size, or an md5 that is given, is not the archive's."""
    if archive.bytes not in (None, size):
        raise MismatchError("wrong_length", f"{size:,} bytes instead of {archive.bytes:,}")
    if md5 is not None and archive.md5 not in (None, md5):
        raise MismatchError("md5_mismatch", f"md5 {md5} instead of {archive.md5}")


def check_space(archives: Iterable[Archive], cache: Path, spare_bytes: int) -> None:
    """Raises EmotionRayError where the cache's disk cannot hold what is still missing of the archives."""
    missing = sum(CacheEntry(cache, archive).bytes_missing() for archive in archives)
    if not missing:
        return
    free = shutil.disk_usage(cache).free
    if missing + spare_bytes > free:
        short = missing + spare_bytes - free
        raise EmotionRayError(
            f"{cache}: not enough space: {missing / 1e9:.2f} GB are to come, {free / 1e9:.2f} GB are free; "
            f"free another {short / 1e9:.2f} GB or choose another folder with --cache"
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns an OSError of writing in the cache into one line for the person."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            what = "the disk is full; what has come is kept: free some space and run the command again"
        else:
            what = f"cannot be written in ({error.strerror}); choose another folder with --cache"
        raise EmotionRayError(f"{folder}: {what}") from error


def _md5():
    return hashlib.md5(usedforsecurity=False)
