"""What there is to prepare: takes, and the archives, folders and manifests that they come from."""

import csv
import json
import os
import re
import stat
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from emotion_ray.data import ravdess
from emotion_ray.data.archives import (
    VIDEO_SUFFIXES,
    Archive,
    Member,
    list_folder,
    list_members,
    read_member,
)
from emotion_ray.data.http_transfer import TransferError, checked_url, chunks, open_from, shown
from emotion_ray.errors import EmotionRayError, Reject
from emotion_ray.settings.checks import home_filled_in

RECORD_TIMEOUT_S = 30.0
SAMPLE_INDEX = "index.json"  # in a folder of the synthetic sample, in the form of a mirror's record
MODALITIES = {"av": (1,), "video": (2,), "both": (1, 2)}
CLIP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LARGEST_VIDEO = 2 * 2**30  # bytes of a loose file: it is read into memory whole
_LARGEST_RECORD = 2**22  # bytes; Zenodo's is 40 kB
_SLOWEST_RECORD = 1000.0  # bytes a second


@dataclass(frozen=True, slots=True)  # slots: a plan may hold a million
class Take:
    """One video to make a clip of, and what is known of it. `Clip` says what the fields mean.

    Attributes:
        path: a video file, or the archive that holds it.
        member: the member's name in the archive; None for a video file.
        crc32, size: of the member, as its archive declares them; None for a video file.
    """

    clip_id: str
    actor: int
    emotion: int
    intensity: int | None
    statement: int | None
    repetition: int | None
    modality: int | None
    path: str
    member: str | None = None
    crc32: int | None = None
    size: int | None = None

    @property
    def source(self) -> str:
        return f"{self.path}!{self.member}" if self.member else self.path

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"{Path(self.path).name}: {self.member}" if self.member else self.path


@dataclass(frozen=True)
class RejectedTake:
    """A row of the rejects table: `source` as in `Clip`, and the fields of `Reject`."""

    source: str
    clip_id: str | None
    stage: str
    reason: str
    message: str

    @classmethod
    def of(cls, source: str, clip_id: str | None, reject: Reject) -> "RejectedTake":
        return cls(source, clip_id, reject.stage, reject.reason, reject.message)


@dataclass(frozen=True)
class Choice:
    """Which takes are wanted: of these actors (None: any) and RAVDESS modalities."""

    actors: frozenset[int] | None
    modalities: tuple[int, ...]

    def wants(self, take: Take) -> bool:
        of_actor = self.actors is None or take.actor in self.actors
        return of_actor and (take.modality is None or take.modality in self.modalities)


def takes_in_archive(path: Path, choice: Choice, origin: str | None = None) -> tuple[list[Take], list[RejectedTake]]:
    """The wanted takes of a zip archive whose members bear RAVDESS names, from its table of contents.

    Args:
        origin: what the takes' `path` shall be, where `path` is a copy on this machine.

    Raises:
        Reject: the whole archive is of no use.
    """
    members, faults = list_members(path)
    origin = origin or str(path)
    takes, rejects = [], [RejectedTake.of(f"{origin}!{name}", None, fault) for name, fault in faults]
    for member in members:
        try:
            takes.append(_named_take(member.name, origin, member))
        except Reject as reject:
            rejects.append(RejectedTake.of(f"{origin}!{member.name}", None, reject))
    takes, doubles = without_doubles(take for take in takes if choice.wants(take))
    return takes, rejects + doubles


def takes_in_folder(folder: Path, choice: Choice) -> tuple[list[Take], list[RejectedTake]]:
    """The wanted takes in a folder of RAVDESS archives or RAVDESS-named videos, at any depth.

    Raises:
        EmotionRayError: the folder is not there, or holds neither archives nor videos.
    """
    paths, faults = list_folder(folder)
    takes: list[Take] = []
    rejects = [RejectedTake.of(name, None, fault) for name, fault in faults]
    for path in paths:
        try:
            if path.suffix.lower() == ".zip":
                found, refused = takes_in_archive(path, choice)
                takes += found
                rejects += refused
            else:
                take = _named_take(path.name, str(path), None)
                takes += [take] if choice.wants(take) else []
        except Reject as reject:
            rejects.append(RejectedTake.of(str(path), None, reject))
    return takes, rejects


def _named_take(name: str, path: str, member: Member | None) -> Take:
    try:
        code = ravdess.Code.parse(name)
    except ValueError as error:
        message = f"{error}; label other data in a CSV manifest of path,label,actor"
        raise Reject("archive", "unknown_name", message) from None
    return Take(
        clip_id=code.clip_id,
        actor=code.actor,
        emotion=code.emotion,
        intensity=code.intensity,
        statement=code.statement,
        repetition=code.repetition,
        modality=code.modality,
        path=path,
        member=member.name if member else None,
        crc32=member.crc32 if member else None,
        size=member.size if member else None,
    )


def takes_in_manifest(manifest: Path, choice: Choice) -> list[Take]:
    """The wanted takes of a CSV file with the columns path, label, actor and, if wanted, clip_id.

    `path` is relative to the manifest's folder or absolute, `label` an emotion's name, `actor` a whole number,
    `clip_id` the file's name without its suffix unless given.

    Raises:
        EmotionRayError: the file can't be read, a column is missing, or a row is wrong; it names the line.
    """
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = {"path", "label", "actor"} - set(rows.fieldnames or ())
            if missing:
                raise EmotionRayError(
                    f"{manifest} lacks the column {sorted(missing)[0]!r}: a manifest begins with path,label,actor"
                )
            folder = str(manifest.parent.absolute())
            takes = [_listed_take(row, f"{manifest}, line {rows.line_num}", folder) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EmotionRayError(f"{manifest} is no CSV file that can be read ({error})") from None
    if not takes:
        raise EmotionRayError(f"{manifest} lists no video")
    return [take for take in takes if choice.wants(take)]


def _listed_take(row: dict[str, str], where: str, folder: str) -> Take:
    path, label, actor = (str(row[column] or "").strip() for column in ("path", "label", "actor"))
    if label.lower() not in ravdess.EMOTIONS:
        raise EmotionRayError(f"{where}: the emotion {label!r} is none of {', '.join(ravdess.EMOTIONS)}")
    if not re.fullmatch(r"\d{1,9}", actor):
        raise EmotionRayError(f"{where}: the actor {actor!r} is not a whole number")
    if "://" in path:  # not told: an address may hold a password
        raise EmotionRayError(f"{where}: the path is an address: fetch the video first, and list the file")
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise EmotionRayError(f"{where}: {path!r} is none of {', '.join(sorted(VIDEO_SUFFIXES))}")
    clip_id = str(row.get("clip_id") or "").strip() or Path(path).stem
    if not CLIP_ID.fullmatch(clip_id):
        raise EmotionRayError(
            f"{where}: the clip_id {clip_id!r} may hold a to z, digits, dots, dashes, underlines: give others in a "
            "column clip_id"
        )
    emotion = ravdess.EMOTIONS.index(label.lower())
    return Take(clip_id, int(actor), emotion, None, None, None, None, os.path.join(folder, path))  # noqa: PTH118 - fast


def without_doubles(takes: Iterable[Take]) -> tuple[list[Take], list[RejectedTake]]:
    """The first take of each clip_id; the others are rejects."""
    first: dict[str, Take] = {}
    rejects = []
    for take in takes:
        if take.clip_id in first:
            message = f"{take.name} has the clip_id {take.clip_id} of {first[take.clip_id].name}; that one is taken"
            rejects.append(RejectedTake.of(take.source, None, Reject("archive", "duplicate_clip", message)))
        else:
            first[take.clip_id] = take
    return list(first.values()), rejects


def internal_error(take: Take, error: Exception) -> Reject:
    """Of a take that met a fault of ours."""
    return Reject("worker", "internal_error", f"{take.name}: {type(error).__name__}: {error}")


def read_take(take: Take, archive: Path | None = None) -> tuple[bytes, int]:
    """The encoded video and its CRC-32.

    Args:
        archive: where the take's archive lies on this machine, if not at `take.path`.

    Raises:
        Reject: it can't be read, or is not what its archive declares.
    """
    path = archive or Path(take.path)
    if take.member is not None and take.crc32 is not None and take.size is not None:
        return read_member(path, Member(take.member, take.crc32, take.size)), take.crc32
    content = read_video(path)
    return content, zlib.crc32(content)


def read_video(path: Path) -> bytes:
    """A video that is a file of its own, still encoded.

    Raises:
        Reject: it can't be read, is no plain file, or is too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
            raise Reject("fetch", "unreadable", f"{path} is not a file: check the path")
        if status.st_size > _LARGEST_VIDEO:
            raise Reject("decode", "too_large", f"{path} is larger than 2 GB: cut it into takes")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: of a path that none can be, with a NUL in it
        cause = getattr(error, "strerror", None) or error
        raise Reject("fetch", "unreadable", f"{path} can't be read ({cause}): check the path") from None


def record_archives(actors: Iterable[int], base_url: str) -> list[Archive]:
    """The archives of these actors at Zenodo, or at a mirror whose record lists sizes and checksums of its own.

    Raises:
        EmotionRayError: the mirror's record can't be read, or lacks an actor's archive.
    """
    if base_url.rstrip("/") == ravdess.BASE_URL:
        return [ravdess.archive(actor) for actor in actors]
    files, _ = _mirror_record(base_url)
    archives = []
    for actor in actors:
        known = ravdess.archive(actor, base_url)
        if known.name not in files:
            raise EmotionRayError(f"{shown(base_url)} has no {known.name}: choose other --actors or another --base-url")
        size, md5 = files[known.name]
        archives.append(replace(known, bytes=size, md5=md5))
    return archives


def synthetic_sample(source: str, base_url: str) -> str | None:
    """The size of the synthetic sample that a mirror's record or a folder's index tells of; None of other data.

    Args:
        source, base_url: as in `PrepareSettings`.

    Raises:
        EmotionRayError: the mirror's record can't be read.
    """
    if source != "zenodo":
        sample = _indexed_sample(home_filled_in(source) / SAMPLE_INDEX)
    elif base_url.rstrip("/") == ravdess.BASE_URL:
        sample = None
    else:
        _, sample = _mirror_record(base_url)
    return str(sample["size"])[:40] if isinstance(sample, dict) and "size" in sample else None


def _indexed_sample(path: Path) -> object:
    """What a folder's index, if that is what the file is, says of the synthetic sample."""
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_RECORD:
            return json.loads(path.read_text("utf-8")).get("synthetic_sample")
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    return None


def _mirror_record(base_url: str) -> tuple[dict[str, tuple[int, str]], object]:
    """Size in bytes and md5 of each file of a mirror's record, and what it says of the synthetic sample."""
    if checked_url(base_url).scheme == "file":
        raise EmotionRayError(f"{shown(base_url)} is no http or https address: give archives on a disk by --source")
    url = f"{base_url.rstrip('/')}/api/records/{ravdess.RECORD}"
    try:
        answer = open_from(url, 0, None, RECORD_TIMEOUT_S)
        with closing(answer.response):
            content = b""
            for chunk in chunks(answer, RECORD_TIMEOUT_S, _SLOWEST_RECORD):
                content += chunk
                if len(content) > _LARGEST_RECORD:
                    raise ValueError("no record is so long")
            record = json.loads(content)
        files = {file["key"]: (int(file["size"]), file["checksum"].removeprefix("md5:")) for file in record["files"]}
        return files, record.get("synthetic_sample")
    except (TransferError, Reject) as error:
        cause = error.message
    except (OSError, ArithmeticError, RecursionError, ValueError, LookupError, TypeError, AttributeError):
        cause = "the answer is not a record of files with sizes and checksums"
    raise EmotionRayError(f"no record of the data set at {shown(base_url)} ({cause}): check --base-url")
