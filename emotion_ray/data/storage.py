"""One way to reach files on a disk or in an object store: a folder named by a path or a URI."""

import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from emotion_ray.errors import EmotionRayError, StorageError
from emotion_ray.settings.checks import home_filled_in

_OF_STORE = re.compile(r"AWS Error (\w+).*? operation: (.*?)(?: \(Request ID.*|; Details.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Folder:
    """A folder on any file system that pyarrow knows. It need not exist yet.

    Credentials of an object store come from where its own tools find them: for S3 the machine's role, `AWS_PROFILE`
    or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. A store of another maker is named by `AWS_ENDPOINT_URL`.

    Attributes:
        uri: what the person wrote, for messages and records; it holds no secret.
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
            EmotionRayError: the URI is of no kind that pyarrow can open, or holds more than a bucket and a folder.
        """
        text = str(uri)
        if "://" not in text:
            return cls(text, fs.LocalFileSystem(), str(home_filled_in(text).absolute()))
        kind, _, rest = text.partition("://")
        if kind != "file":
            # pyarrow takes credentials in these, and a URI ends up in logs, records and results
            if re.search("[@?#]", rest):
                raise EmotionRayError(
                    f"a folder at {kind}:// is named {kind}://BUCKET/FOLDER alone, without @, ? and #: give "
                    "credentials by AWS_PROFILE or the machine's role, an endpoint by AWS_ENDPOINT_URL"
                )
            text = f"{kind}://{re.sub('/+', '/', rest).rstrip('/')}"  # an object's name is taken to the letter
        try:
            filesystem, path = fs.FileSystem.from_uri(text)
        except (pa.ArrowException, ValueError):
            filesystem, path = None, ""
        except OSError as error:  # the bucket's region is looked up
            raise EmotionRayError(f"{text} can't be opened ({cause_of(error)}): check its name") from None
        if not path:
            raise EmotionRayError(f"a folder at {kind}:// can't be opened: use a path, file://, s3:// or gs://")
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
            fix = "check the network and the credentials" if is_of_store(error) else "give another"
            raise EmotionRayError(f"{self.uri} is no folder that can be read ({cause_of(error)}): {fix}") from None

    def read(self, name: str) -> bytes:
        """The whole of a file.

        Raises:
            FileNotFoundError: there is no such file.
            EmotionRayError: the object store can't be reached, or does not let us read.
        """
        try:
            with self.filesystem.open_input_stream(self.file(name)) as stream:
                return stream.read()
        except OSError as error:
            if self.is_local or isinstance(error, FileNotFoundError):
                raise
            raise EmotionRayError(
                f"can't read {name} in {self.uri} ({cause_of(error)}): check the network and the credentials"
            ) from None

    def publish(self, name: str, content: bytes | pa.Buffer) -> None:
        """Writes a file whole or not at all; an older one of that name is replaced.

        On a disk it is written beside its place, synced and renamed; an object store publishes an object
        when its upload ends.

        Raises:
            StorageError: the folder is read-only, the disk is full, or the object store can't be reached.
        """
        path = self.file(name)
        if not self.is_local:
            try:
                with self.filesystem.open_output_stream(path) as stream:
                    stream.write(content)  # after a failure the stream's close ends no upload
            except OSError as error:
                raise StorageError(
                    f"can't write {name} in {self.uri} ({cause_of(error)}): "
                    "check the bucket, the network and the credentials"
                ) from None
            return
        try:
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
            raise StorageError(
                f"can't write {name} in {self.uri}: {cause_of(error)}; free space or give another folder"
            ) from None

    def remove_partials(self) -> None:
        """Removes what writes that were killed left beside their places; only where nobody else is writing."""
        if self.is_local:
            for left in Path(self.path).glob(".*.part"):
                left.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Removes a file; one that is not there is no error.

        Raises:
            EmotionRayError: it can't be removed.
        """
        if self.exists(name):
            try:
                self.filesystem.delete_file(self.file(name))
            except OSError as error:
                raise EmotionRayError(
                    f"can't remove {name} in {self.uri} ({cause_of(error)}): check who may write there"
                ) from None


def is_of_store(error: Exception) -> bool:
    """Whether an error is an object store's own, such as one of the network, and says nothing of the file."""
    return bool(_OF_STORE.search(str(error)))


def cause_of(error: Exception) -> str:
    """What went wrong, in a line; of an object store's error what a person can use."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = (str(error).splitlines() or [type(error).__name__])[0]
    found = _OF_STORE.search(text)
    return f"{found[1]}: {found[2]}" if found else text
