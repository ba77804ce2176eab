"""What an archive is, which takes lie in it, and one take's bytes. Nothing is ever unpacked to disk.

An archive may come from anywhere, so each name, size and type in it is checked before a byte is read, and
each read is bounded by what the table of contents declares (PKWARE APPNOTE 6.3, section 4.3.12).
"""

import errno
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from emotion_ray.errors import EmotionRayError, Reject

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".flv"})
METADATA_SUFFIXES = frozenset({".txt", ".md", ".csv", ".json", ".xml", ".pdf", ".html", ".ini", ".db"})

_VIDEO_NAMES = ", ".join(sorted(VIDEO_SUFFIXES))
_MIB = 1 << 20
_LARGEST_DIRECTORY = 32 * _MIB  # 100,000 members with names and extra fields of 280 bytes each
_BROKEN_ZIP = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile raises on malformed input."""


@dataclass(frozen=True)
class Archive:
    """A file to fetch.

    Attributes:
        name: the file's name in the cache.
        url: http, https or file.
        bytes: its size, or None where unknown.
        md5: its checksum as 32 lower-case hex digits, or None where unknown.
    """

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Member:
    """A video in an archive, as the table of contents declares it: its name, CRC-32 and size in bytes."""

    name: str
    crc32: int
    size: int


@dataclass(frozen=True)
class ZipLimits:
    """How much an archive may ask of us.

    Attributes:
        members: the most members of an archive.
        member_bytes: the largest take, unpacked (RAVDESS's are about 5 MB).
        ratio: the most bytes unpacked per byte packed, asked of members above 1 MB. Video hardly packs.
    """

    members: int = 100_000
    member_bytes: int = 200_000_000
    ratio: int = 100


def list_members(path: Path, limits: ZipLimits = ZipLimits()) -> tuple[list[Member], list[tuple[str, Reject]]]:
    """The videos of an archive, in the archive's order, from its table of contents alone.

    Folders and metadata (`__MACOSX/`, `.DS_Store`, text and the like) are passed over.

    Returns:
        The members, and the names with their rejects (stage "archive"; reasons unsafe_name, link, not_a_file,
        not_a_video, encrypted, unsupported_compression, empty, too_large, bomb, duplicate_name).

    Raises:
        Reject: the whole archive is of no use (reasons unreadable, not_a_zip, truncated_zip, corrupt_zip,
            too_many_members).
    """
    with _opened(path, limits) as archive:
        infos = [info for info in archive.infolist() if not _is_passed_over(info)]
    times_named = Counter(info.orig_filename for info in infos)
    members: list[Member] = []
    rejects: dict[str, Reject] = {}
    for info in infos:
        name = info.orig_filename
        reject = _fault(info, limits)
        if reject is None and times_named[name] > 1:
            message = f"{_quoted(name)} is there {times_named[name]} times"
            reject = Reject("archive", "duplicate_name", message)
        if reject is not None:
            rejects.setdefault(name, reject)
        else:
            members.append(Member(name, info.CRC, info.file_size))
    return members, list(rejects.items())


def read_member(path: Path, member: Member, limits: ZipLimits = ZipLimits()) -> bytes:
    """The bytes of one member that `list_members` gave, `member.size` of them, their CRC-32 verified.

    Raises:
        Reject: the reasons of `list_members`; and changed (the archive is not the one that was listed),
            corrupt (cannot be unpacked) and wrong_crc.
    """
    with _opened(path, limits) as archive:
        info = archive.NameToInfo.get(member.name)
        if info is None or (info.CRC, info.file_size) != (member.crc32, member.size):
            raise Reject("archive", "changed", f"{path}: {_quoted(member.name)} changed since it was listed")
        fault = _fault(info, limits)
        if fault is not None:
            raise fault
        try:
            with archive.open(info) as stream:
                # In pieces, and zipfile stops at the declared size: a bomb cannot swell beyond it.
                data = b"".join(iter(lambda: stream.read(_MIB), b""))
            if len(data) != member.size:
                raise EOFError
        except _BROKEN_ZIP as error:
            if _is_of_the_disk(error):
                raise _unreadable(path, error) from None
            reason, what = "corrupt", "cannot be unpacked"
            if isinstance(error, zipfile.BadZipFile) and "CRC" in str(error):
                reason, what = "wrong_crc", "has a wrong CRC"
            message = f"{path}: {_quoted(member.name)} {what}; fetch the archive again"
            raise Reject("archive", reason, message) from None
    return data


def list_folder(folder: Path) -> tuple[list[Path], list[tuple[str, Reject]]]:
    """The videos and zip archives in a folder and the folders below it, sorted by path.

    Hidden files and folders, and files of other kinds, are passed over. Linked folders are not entered. A
    link to a file inside the folder is taken as the file itself, once.

    Returns:
        The paths, and the names of links that leave the folder or lead nowhere, with their rejects (stage
        "archive", reason link).

    Raises:
        EmotionRayError: the folder is not there, cannot be read, or holds neither videos nor archives.
    """

    def refuse(error: OSError) -> None:
        raise EmotionRayError(f"{error.filename}: cannot be read ({error.strerror}); check who may read it")

    root = folder.resolve()
    if root.is_file():
        raise EmotionRayError(f"{folder} is a file; give the folder that it lies in")
    if not root.is_dir():
        raise EmotionRayError(f"{folder}: no such folder; give a folder of archives or videos")
    found: dict[Path, Path] = {}  # the real file: the path to it
    rejects: list[tuple[str, Reject]] = []
    for here, folders, files in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in sorted(Path(here, name) for name in [*folders, *files] if not name.startswith(".")):
            if as_text(path) != str(path):
                message = f"{as_text(path)}: its name is not in UTF-8; rename it"
                rejects.append((as_text(path.relative_to(root)), Reject("archive", "unsafe_name", message)))
            elif path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(root)):
                message = f"{path} is a link that leaves the folder or leads nowhere; put the file there"
                rejects.append((str(path.relative_to(root)), Reject("archive", "link", message)))
            elif path.suffix.lower() in VIDEO_SUFFIXES | {".zip"} and path.is_file():
                real = path.resolve()
                if real not in found or not path.is_symlink():
                    found[real] = path
    if not found and not rejects:
        raise EmotionRayError(f"{folder}: neither .zip archives nor videos in it ({_VIDEO_NAMES})")
    return sorted(found.values()), rejects


def as_text(path: str | Path) -> str:
    """A path as it may be shown and stored: what of its bytes is no UTF-8 is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def name_fault(name: str) -> str | None:
    """Why a member's name is not a plain relative path on every system, or None if it is one."""
    parts = name.removesuffix("/").split("/")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "has control characters"
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/") or re.match(r"[^/]:", name):
        return "is absolute"
    if ".." in parts:
        return "climbs out of its folder"
    if any(not part.strip(" .") for part in parts):  # "", "." and, since Windows drops them, ".. " and "..."
        return "has an empty part"
    return None


class _BoundedReader(io.BufferedReader):
    """Refuses the one read whose size the archive decides: zipfile reads the table of contents whole."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            message = f"{self.raw.name}: its table of contents is said to have {size:,} bytes; refused"
            raise Reject("archive", "too_many_members", message)
        return super().read(size)


def _is_of_the_disk(error: Exception) -> bool:
    """Whether reading failed, and not what was read: a malformed archive may ask for a place that can't be."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def _unreadable(path: Path, error: OSError) -> Reject:
    """Of the stage whose rejects may go well another time."""
    return Reject("fetch", "unreadable", f"{path}: cannot be read ({error.strerror or error}); try again")


@contextmanager
def _opened(path: Path, limits: ZipLimits) -> Iterator[zipfile.ZipFile]:
    try:
        raw = io.FileIO(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    with _BoundedReader(raw) as file:
        try:
            archive = zipfile.ZipFile(file)
        except _BROKEN_ZIP as error:
            if _is_of_the_disk(error):
                raise _unreadable(path, error) from None
            raise _broken_archive(path, file) from None
        with archive:
            count = len(archive.infolist())
            if count > limits.members:
                message = f"{path}: {count:,} members, more than {limits.members:,}; refused"
                raise Reject("archive", "too_many_members", message)
            yield archive


def _broken_archive(path: Path, file: io.BufferedReader) -> Reject:
    file.seek(0)
    begins_as_zip = file.read(4) == b"PK\x03\x04"
    file.seek(max(0, path.stat().st_size - 66_000))  # where the end record would be: 22 bytes and a comment
    if not begins_as_zip:
        return Reject("archive", "not_a_zip", f"{path} is no zip archive; fetch it again or remove it")
    if b"PK\x05\x06" not in file.read():
        return Reject("archive", "truncated_zip", f"{path} is a zip archive cut short; fetch it again")
    return Reject("archive", "corrupt_zip", f"{path}: its table of contents is damaged; fetch it again")


def _is_passed_over(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a plain folder or mere metadata, under a name that is no danger, and no link."""
    if name_fault(info.orig_filename) or stat.S_ISLNK(info.external_attr >> 16):
        return False
    if info.is_dir():
        return info.file_size == 0
    path = PurePosixPath(info.orig_filename)
    hidden = path.name.startswith(".") or path.parts[0] == "__MACOSX"
    return hidden or path.suffix.lower() in METADATA_SUFFIXES


def _fault(info: zipfile.ZipInfo, limits: ZipLimits) -> Reject | None:
    """Why a member is no take, by what the table of contents declares of it."""
    name, mode = info.orig_filename, info.external_attr >> 16
    reason, why = None, name_fault(name)
    if why:
        reason = "unsafe_name"
    elif stat.S_ISLNK(mode):
        reason, why = "link", "is a link"
    elif info.is_dir() or stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        reason, why = "not_a_file", "is no plain file"
    elif PurePosixPath(name).suffix.lower() not in VIDEO_SUFFIXES:
        reason, why = "not_a_video", f"is no video ({_VIDEO_NAMES})"
    elif info.flag_bits & 0x41:  # bit 0: encrypted; bit 6: strongly so
        reason, why = "encrypted", "is encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        reason, why = "unsupported_compression", f"is compressed by method {info.compress_type}, not deflate"
    elif info.file_size == 0:
        reason, why = "empty", "is empty"
    elif info.file_size > limits.member_bytes:
        reason, why = "too_large", f"has {info.file_size:,} bytes, more than {limits.member_bytes:,}"
    elif info.file_size > 1_000_000 and info.file_size > limits.ratio * info.compress_size:
        reason, why = "bomb", f"unpacks to {info.file_size:,} bytes from {info.compress_size:,}"
    return Reject("archive", reason, f"{_quoted(name)} {why}") if reason else None


def _quoted(name: str) -> str:
    """A name for a message: on one line, and not endless."""
    return ascii(name if len(name) <= 120 else name[:117] + "...")
