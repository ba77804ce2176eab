"""Archives into the cache: resumed, verified, tried again with patience, each fetched once."""

import random
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from emotion_ray.data.archive_cache import CacheEntry, MismatchError, Part, check, check_space
from emotion_ray.data.archives import Archive
from emotion_ray.data.http_transfer import TransferError, checked_url, chunks, open_from, shown
from emotion_ray.errors import Reject


@dataclass(frozen=True)
class DownloadSettings:
    """How patient a download is.

    Attributes:
        tries: transfers in a row that bring nothing worth counting before an archive is given up.
        step_bytes: what a transfer must bring to be worth counting, in bytes.
        backoff_s: wait before the second try, in seconds; doubled at each further one, of which a random half
            to whole is waited. What the server asks for with Retry-After comes on top.
        longest_backoff_s: the most that the doubling leads to, in seconds.
        timeout_s: the longest silence of a server, in seconds.
        slowest_bytes_per_s: a transfer slower than this over `timeout_s` is broken off and tried again.
        give_up_after_s: the longest time without anything worth counting, waits included, in seconds.
        spare_bytes: free space that must remain on the cache's disk, in bytes.
    """

    tries: int = 6
    step_bytes: int = 1 << 20
    backoff_s: float = 1.0
    longest_backoff_s: float = 60.0
    timeout_s: float = 30.0
    slowest_bytes_per_s: float = 1024.0
    give_up_after_s: float = 900.0
    spare_bytes: int = 256 << 20


def download(
    archive: Archive,
    cache: Path,
    *,
    settings: DownloadSettings = DownloadSettings(),
    on_progress: Callable[[int], None] = lambda count: None,
    stop: threading.Event | None = None,
) -> Path:
    """The path of an archive that is whole: size and md5 are the expected ones, as far as these are known.

    What is there and verified is not fetched or read again; what was cut off is gone on with. Where several
    threads or processes of a machine want one archive, one fetches it and the others wait. An archive with a
    file URL is verified where it lies and not copied: the path is then not in the cache.

    Args:
        on_progress: called with each change of the bytes that are here, negative when they are dropped; all
            calls sum up to the archive's size. Called in this thread.
        stop: set it from another thread to end early; what has come is kept.

    Raises:
        Reject: this archive cannot be had (stage "fetch"; reasons not_found, forbidden, http_error,
            bad_redirect, bad_certificate, md5_mismatch, wrong_length, unknown_length, unreadable, stopped;
            and after all tries rate_limited, server_error, timeout, too_slow, cut_off, connection_lost,
            bad_answer, range_refused).
        EmotionRayError: nothing can be fetched: no URL, no space, the cache cannot be written in.
    """
    url = checked_url(archive.url)
    in_place = Path(urllib.request.url2pathname(url.path)) if url.scheme == "file" else None
    entry = CacheEntry(cache, archive, whole=in_place)
    if not entry.is_remembered():
        with entry.locked():
            if not entry.is_remembered() and not _is_right(entry, must_be=in_place is not None):
                _fetch(entry, settings, on_progress, stop or threading.Event())
                return entry.whole
    on_progress(entry.whole.stat().st_size)
    return entry.whole


def _is_right(entry: CacheEntry, must_be: bool) -> bool:
    """Whether a file that someone put there, or that was touched since we verified it, is the archive.

    Without an md5 there is no telling, and a file in the cache is not taken on trust.
    """
    if entry.archive.md5 is None and not must_be:
        return False
    try:
        entry.verify()
    except MismatchError as wrong:
        if must_be:
            raise Reject("fetch", wrong.reason, f"{entry.whole} has {wrong.message}; replace it") from None
        return False
    except OSError as error:
        if must_be:
            reason = "not_found" if isinstance(error, FileNotFoundError) else "unreadable"
            raise Reject("fetch", reason, f"{entry.whole}: {error.strerror}") from None
        return False
    return True


def _fetch(
    entry: CacheEntry, settings: DownloadSettings, on_progress: Callable[[int], None], stop: threading.Event
) -> None:
    archive = entry.archive
    check_space([archive], entry.part.parent, settings.spare_bytes)
    with closing(Part(entry, shown(archive.url), on_progress)) as part:
        for is_last in (False, True):
            try:
                _fill(part, archive, settings, stop)
                check(archive, part.size, part.md5())
                entry.keep(part)
                return
            except MismatchError as wrong:
                part.restart()
                if is_last:
                    entry.discard_part()
                    message = f"{shown(archive.url)} gave {wrong.message}, twice; check --base-url"
                    raise Reject("fetch", wrong.reason, message) from None


def _fill(part: Part, archive: Archive, settings: DownloadSettings, stop: threading.Event) -> None:
    """Transfers, again and again, until all bytes are here."""
    failures, furthest, since = 0, part.size, time.monotonic()
    while part.size != (archive.bytes or part.total):
        try:
            _transfer(part, archive, settings, stop)
            continue
        except TransferError as interruption:
            failure = interruption
        # A server without ranges begins anew each time: only what goes beyond the furthest is progress.
        if part.size >= furthest + settings.step_bytes:
            failures, furthest, since = 0, part.size, time.monotonic()
        if failure.restart:
            part.restart()
        backoff_s = min(settings.backoff_s * 2**failures, settings.longest_backoff_s)
        wait_s = failure.wait_s + backoff_s * random.uniform(0.5, 1.0)
        failures += 1
        out_of_time = time.monotonic() - since + wait_s > settings.give_up_after_s
        if failures >= settings.tries or out_of_time:
            asked = f" and asks to wait {failure.wait_s:.0f} s" if failure.wait_s else ""
            message = (
                f"{shown(archive.url)}: {failure.message}{asked} ({failures} of {settings.tries} tries); "
                f"run again later to go on from byte {part.size:,}"
            )
            raise Reject("fetch", failure.reason, message)
        if stop.wait(wait_s):
            raise _stopped(archive)


def _transfer(part: Part, archive: Archive, settings: DownloadSettings, stop: threading.Event) -> None:
    """One request, and its bytes into the part."""
    answer = open_from(archive.url, part.size, part.validator, settings.timeout_s)
    with closing(answer.response):
        expected = archive.bytes or (part.total if answer.start else answer.total)
        if expected is None:
            # Then nobody could tell a file that was cut off from a whole one.
            message = f"{shown(archive.url)}: the server does not say how long it is; check --base-url"
            raise Reject("fetch", "unknown_length", message)
        if answer.total not in (None, expected):
            if answer.start:
                raise TransferError("bad_answer", "the file at the server has changed", restart=True)
            raise MismatchError("wrong_length", f"{answer.total:,} bytes instead of {expected:,}")
        if not answer.start:
            part.restart()
            if archive.bytes is None:
                sized = Archive(archive.name, archive.url, expected, archive.md5)
                check_space([sized], part.folder, settings.spare_bytes)
            part.begin(expected, answer.validator)
        for chunk in chunks(answer, settings.timeout_s, settings.slowest_bytes_per_s):
            if stop.is_set():
                raise _stopped(archive)
            if part.size + len(chunk) > expected:
                raise MismatchError("wrong_length", f"more than {expected:,} bytes")
            part.append(chunk)
    if part.size < expected:
        raise TransferError("cut_off", f"the connection was cut at byte {part.size:,} of {expected:,}")


def _stopped(archive: Archive) -> Reject:
    return Reject("fetch", "stopped", f"{archive.name}: stopped; run again to go on")
