"""One way to reach files on a disk or in an object store: a folder named by a path or a URI."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from emotion_ray.errors import EmotionRayError


@dataclass(frozen=True)
class Folder:
    """A folder on any file system that pyarrow knows. It need not exist yet.

    Attributes:
        uri: what the person wrote, for messages.
        filesystem: pyarrow's file system.
        path: the folder's path within it.
    """

    uri: str
    filesystem: fs.FileSystem
    path: str

    @classmethod
    def at(cls, uri: str | Path) -> "Folder":
        """A folder from a local path or a URI (`file://`, `s3://`, `gs://`).

        Raises:
            EmotionRayError: the URI is of no kind that pyarrow can open.
        """
        text = str(uri)
        if "://" not in text:
            return cls(text, fs.LocalFileSystem(), str(Path(text).expanduser().absolute()))
        try:
            filesystem, path = fs.FileSystem.from_uri(text)
        except (pa.ArrowException, OSError, ValueError):
            kind = text.split("://", 1)[0]
            raise EmotionRayError(
                f"a folder at {kind}:// can't be opened: use a path, file://, s3:// or gs://"
            ) from None
        return cls(text, filesystem, path)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def file(self, name: str) -> str:
        """The path, within the file system, of a file given relative to this folder."""
        return f"{self.path}/{name}"

    def names(self, pattern_suffix: str = "", below: str = "") -> list[str]:
        """Names of the files under `below`, relative to this folder, sorted; empty where nothing is there.

        Files and folders that begin with a dot (a write that was cut off) are left out.

        Raises:
            EmotionRayError: it is no folder, or can't be reached.
        """
        root = f"{self.path}/{below}".rstrip("/")
        found = self._info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        names = [info.path[len(self.path) + 1 :] for info in found if info.type == fs.FileType.File]
        return sorted(
            name
            for name in names
            if name.endswith(pattern_suffix) and not any(p.startswith(".") for p in name.split("/"))
        )

    def exists(self, name: str) -> bool:
        return self._info(self.file(name)).type == fs.FileType.File

    def _info(self, what: str | fs.FileSelector):
        try:
            return self.filesystem.get_file_info(what)
        except OSError as error:
            cause = str(error).splitlines()[0]
            raise EmotionRayError(f"{self.uri} is no folder that can be read ({cause}): give another") from None

    def read(self, name: str) -> bytes:
        """The whole of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with self.filesystem.open_input_stream(self.file(name)) as stream:
            return stream.read()

    def publish(self, name: str, content: bytes | pa.Buffer) -> None:
        """Writes a file whole or not at all; an older one of that name is replaced.

        On a disk it is written beside its place, synced and renamed; an object store publishes an object
        when its upload ends.

        Raises:
            EmotionRayError: the folder is read-only or the disk is full.
        """
        path = self.file(name)
        try:
            if not self.is_local:
                with self.filesystem.open_output_stream(path) as stream:
                    stream.write(content)
                return
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
            try:
                with partial.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise EmotionRayError(
                f"can't write {name} in {self.uri}: {error.strerror or error}; free space or give another folder"
            ) from None

    def remove(self, name: str) -> None:
        """Removes a file; one that is not there is no error."""
        if self.exists(name):
            self.filesystem.delete_file(self.file(name))
