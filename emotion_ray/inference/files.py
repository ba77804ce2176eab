"""Which videos a person means, and what is made of each: never over another file, and whole or not at all."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from emotion_ray.data.archives import VIDEO_SUFFIXES
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings.checks import home_filled_in

ANNOTATED = "_annotated"


@dataclass(frozen=True)
class Outputs:
    """The files that are made of one video."""

    video: Path
    table: Path
    picture: Path

    @classmethod
    def named(cls, folder: Path, stem: str, table: str) -> "Outputs":
        """Args: folder: to write to; stem: of the video's name; table: suffix of the table."""
        return cls(
            folder / f"{stem}{ANNOTATED}.mp4", folder / f"{stem}_timeline.{table}", folder / f"{stem}_timeline.png"
        )

    @property
    def all(self) -> tuple[Path, ...]:
        return self.video, self.table, self.picture


def videos_of(paths: Sequence[str]) -> list[tuple[Path, Path]]:
    """The videos that some files and folders come to, each once.

    Of a folder, all below it with a video's suffix, but for what was annotated before.

    Returns:
        the path of each, and the folder, relative, under which its outputs go: that within the folder given.

    Raises:
        EmotionRayError: a folder that can't be read, an address, or no video in all.
    """
    if any("://" in text for text in paths):  # not told: an address may hold a password
        raise EmotionRayError("a video was given by its address: fetch it first, and give the file")
    found: dict[Path, tuple[Path, Path]] = {}
    try:
        for text in paths:
            path = home_filled_in(text)
            if path.is_dir():
                for below in _videos_below(path):
                    found.setdefault(below.resolve(), (below, below.parent.relative_to(path)))
            else:
                found.setdefault(path.resolve(), (path, Path()))
    except OSError as error:
        raise EmotionRayError(f"can't look into {error.filename}: {error.strerror or error}") from None
    if not found:
        raise EmotionRayError(
            f"no video in {', '.join(paths)}: give files, or folders with {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    return list(found.values())


def _videos_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error  # os.walk would pass over what it can't read in silence, as Path.rglob does

    names = [Path(parent, name) for parent, _, files in os.walk(folder, onerror=refuse) for name in files]
    videos = (path for path in names if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in videos if not path.stem.endswith(ANNOTATED) and path.is_file())


def check_free(outputs: Outputs, inputs: set[Path], force: bool) -> None:
    """Refuses outputs that are another's input, or that are there already, without `force`.

    Args:
        inputs: resolved paths.

    Raises:
        EmotionRayError: as said.
    """
    for path in outputs.all:
        if path.resolve() in inputs:
            raise EmotionRayError(f"{path} is a video to be read: give another folder with --out")
        if path.exists() and not force:
            raise EmotionRayError(f"{path} is there already: give --force to replace it, or another folder with --out")


@contextmanager
def being_written(outputs: Outputs, force: bool) -> Iterator[Outputs]:
    """Names beside the outputs' own to write to; they take their places when the block ends well, else they go.

    Raises:
        EmotionRayError: the folder can't be written, or an output has come to be there meanwhile.
    """
    mark = uuid.uuid4().hex[:8]  # another run may be writing the same outputs
    parts = Outputs(*(path.with_name(f".{path.name}.{mark}.part") for path in outputs.all))
    try:
        for path in outputs.all:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield parts
        check_free(outputs, set(), force)
        for part, path in zip(parts.all, outputs.all, strict=True):
            if part.exists():
                part.replace(path)
    except OSError as error:
        cause = error.strerror or error
        raise EmotionRayError(
            f"can't write to {outputs.video.parent}: {cause}; give another folder with --out"
        ) from None
    finally:
        for part in parts.all:
            with suppress(OSError):  # where the folder is no folder, that is told already
                part.unlink(missing_ok=True)
