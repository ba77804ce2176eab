"""The sample as files: H.264 takes in archives of RAVDESS's names and layout, and an index of them."""

import hashlib
import io
import json
import os
import signal
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np

from emotion_ray.data.ravdess import RECORD, Code, archive_name
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import SAMPLE_INDEX
from emotion_ray.errors import EmotionRayError
from emotion_ray.sample.render import SAMPLE_RATE, VERSION, render_take, render_voice
from emotion_ray.sample.takes import Size, planned_takes
from emotion_ray.vision.video import RATE

_TIMESTAMP = (2018, 5, 16, 0, 0, 0)  # of every member, so that an archive depends on its takes alone
# Without mbtree=0, libx264's output differs from run to run in a few bits, even with one thread.
_X264 = {"preset": "veryfast", "crf": "18", "x264-params": "mbtree=0"}


@dataclass(frozen=True)
class SampleIndex:
    """What a folder of the sample holds.

    Attributes:
        folder: where.
        size: "demo" or "full".
        seed: that it was rendered from.
        files: name of each archive, with its size in bytes and md5 (32 hex digits).
    """

    folder: Path
    size: Size
    seed: int
    files: dict[str, tuple[int, str]]

    def as_record(self) -> dict:
        """The form in which Zenodo lists the files of a record."""
        files = [{"key": key, "size": size, "checksum": f"md5:{md5}"} for key, (size, md5) in self.files.items()]
        return {"id": RECORD, "synthetic_sample": self._identity, "files": files}

    @property
    def _identity(self) -> dict:
        return {"size": self.size, "seed": self.seed, "version": VERSION}

    def write(self) -> None:
        Folder.at(self.folder).publish(SAMPLE_INDEX, (json.dumps(self.as_record(), indent=1) + "\n").encode())

    def read_files(self) -> dict[str, tuple[int, str]] | None:
        """The archives that the folder's index lists and that are there in full; None if it has no index of ours.

        An index of another size, seed or version counts as listing nothing.
        """
        try:
            record = json.loads((self.folder / SAMPLE_INDEX).read_text())
            same = record["synthetic_sample"] == self._identity
            listed = {file["key"]: (file["size"], file["checksum"].removeprefix("md5:")) for file in record["files"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        paths = {name: self.folder / name for name in listed}
        return {name: listed[name] for name, path in paths.items() if same and _size(path) == listed[name][0]}


def build_sample(
    folder: Path,
    size: Size = "demo",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> SampleIndex:
    """Makes the synthetic sample in a folder, or what is missing of it; one that is complete is left as it is.

    The same size and seed give the same pixels everywhere, and the same bytes on one machine. Other processes are
    started afresh ("spawn"), so a script calls it under `if __name__ == "__main__"`.

    Args:
        folder: made if need be; it must be empty or hold a sample.
        size: "demo", 64 takes of 4 actors; "full", 240 takes of 8 actors.
        seed: of all that differs between actors and between takes.
        progress: called with takes done and takes in all.
        processes: that render; by default one for each CPU this process may use.

    Returns:
        SampleIndex: also written to `index.json`, as Zenodo lists the files of a record.

    Raises:
        EmotionRayError: the folder holds something else, or can't be written.
    """
    try:
        return _build(SampleIndex(Path(folder), size, seed, {}), progress, processes or len(os.sched_getaffinity(0)))
    except BrokenProcessPool:
        raise EmotionRayError(
            "a process that rendered died: free memory and run it again; what is done stays"
        ) from None
    except OSError as error:
        raise EmotionRayError(f"the sample can't be written to {folder} ({error.strerror}): choose another") from None


def _build(index: SampleIndex, progress: Callable[[int, int], None] | None, processes: int) -> SampleIndex:
    index.folder.mkdir(parents=True, exist_ok=True)
    ready = index.read_files()
    if ready is None and Folder.at(index.folder).names():
        raise EmotionRayError(f"{index.folder} holds something else than a sample: choose an empty folder")
    takes = planned_takes(index.size)
    missing = [take for take in takes if archive_name(take.actor) not in (ready or {})]
    index.files.update(ready or {})
    if not missing:
        return index
    index.write()
    encoded = partial(encoded_take, seed=index.seed)
    if processes == 1:
        _write_archives(index, missing, map(encoded, missing), len(takes), progress)
    else:
        ignore_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # this process ends them
        with ProcessPoolExecutor(processes, get_context("spawn"), ignore_ctrl_c) as pool:
            _write_archives(index, missing, pool.map(encoded, missing), len(takes), progress)
    return index


def _write_archives(index, takes, contents, total, progress) -> None:
    done = total - len(takes)
    for actor, group in groupby(zip(takes, contents, strict=True), key=lambda pair: pair[0].actor):
        name, file = archive_name(actor), io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for take, content in group:
                archive.writestr(zipfile.ZipInfo(take.member, _TIMESTAMP), content)
                done += 1
                if progress:
                    progress(done, total)
        content = file.getvalue()
        Folder.at(index.folder).publish(name, content)
        index.files[name] = (len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())
        index.write()


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def encoded_take(code: Code, seed: int = 0) -> bytes:
    """A take as an MP4 file."""
    cv2.setNumThreads(1)  # one take a process
    return encode(render_take(code, seed), render_voice(code, seed))


def encode(pictures: np.ndarray, voice: np.ndarray) -> bytes:
    """An MP4 file of H.264 at 29.97 frames a second and AAC; the same input gives the same bytes.

    Args:
        pictures: uint8 [T, H, W, 3] RGB, H and W even.
        voice: float32 [N] in -1..1, mono at 44100 Hz.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=RATE, options=_X264)
        video.height, video.width = pictures.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(voice[None], format="fltp", layout="mono")
        sound.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return file.getvalue()
