"""Video in: the frames that are wanted, from bytes that we read ourselves.

A video file is hostile input: a demuxer follows what a file says, to other files and addresses too. So only
bytes in memory are opened, only as one of the formats below, and never above a size in pixels. A hang inside
the decoder can't be stopped from Python: who decodes what strangers send runs it in a process that a watchdog
may end.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from emotion_ray.errors import Reject
from emotion_ray.vision.sampling import NearestInTime

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv"
MAX_PIXELS = 4096 * 2304
WITHIN_LIMIT = {"max_pixels": str(MAX_PIXELS)}
"""FFmpeg's option for decoders to refuse a larger frame before they take the memory for it."""
RATE = Fraction(30000, 1001)  # frames a second that a clip is made of: RAVDESS's own
LIKELY_FPS = (0.1, 1000.0)  # a file that declares a rate beyond these is taken for one that declares none


def open_bytes(content: bytes) -> av.container.InputContainer:
    """A container of an accepted format, from bytes alone; no decoder in it takes more pixels than `MAX_PIXELS`.

    Raises:
        av.error.FFmpegError, ValueError: it is none.
    """
    return av.open(
        io.BytesIO(content),
        container_options={"format_whitelist": FORMATS},
        options=WITHIN_LIMIT,  # opening decodes pictures already, to find out what they are
        metadata_errors="ignore",  # a title in Latin-1 is no reason to refuse the pictures
    )


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame, upright as it is to be shown.

    Attributes:
        time: seconds from the first frame.
        rgb: uint8 [H, W, 3].
    """

    time: float
    rgb: np.ndarray


class Video:
    """A video opened from its bytes; use it as a context manager.

    Attributes:
        fps: frames a second that the file declares (29.97 where it declares none, or one outside `LIKELY_FPS`).
        colorspace: matrix coefficients that the file declares, by ISO/IEC 23091-4's numbers; 2 for none.
        declared_s: seconds that it lasts by what the file says, for a progress bar at best; None where it is silent.
        start_s: after the first frame, its time in seconds in the file, where that of others is 0.
        cut_short: after reading, the error that ended decoding early, else None.

    Args:
        content: the whole file.
        name: what to call it in messages.

    Raises:
        Reject: stage "decode": no video of an accepted format, no picture, or too many pixels.
    """

    def __init__(self, content: bytes, name: str):
        self.name = name
        self.cut_short: str | None = None
        self.start_s = 0.0
        if not content:
            raise Reject("decode", "empty_file", f"{name} is empty: fetch it again")
        try:
            self._container = open_bytes(content)
        except (av.error.FFmpegError, ValueError) as error:
            raise Reject("decode", "not_a_video", f"{name} is no video that can be read ({_cause(error)})") from None
        try:
            self._stream = self._picture_stream()
        except BaseException:
            self._container.close()
            raise
        fps = float(self._stream.average_rate or self._stream.guessed_rate or RATE)
        self.fps = fps if LIKELY_FPS[0] <= fps <= LIKELY_FPS[1] else float(RATE)
        duration = self._container.duration  # in microseconds
        self.declared_s = duration / av.time_base if duration and duration > 0 else None
        self.colorspace = int(self._stream.codec_context.colorspace)

    def _picture_stream(self) -> av.VideoStream:
        if not self._container.streams.video:
            raise Reject("decode", "no_picture", f"{self.name} has no video stream: is it the audio-only modality?")
        stream = self._container.streams.video[0]
        if stream.codec_context is None:
            raise Reject("decode", "unknown_codec", f"{self.name} has pictures of a codec that is not known here")
        width, height = stream.codec_context.width, stream.codec_context.height
        if not 0 < width * height <= MAX_PIXELS:  # opened within the limit, a larger one has no size
            message = f"{self.name} has larger frames than the limit of {MAX_PIXELS:,} px, or such that can't be read"
            raise Reject("decode", "too_many_pixels", message)
        stream.codec_context.options = WITHIN_LIMIT  # a later frame may be larger than the header says
        stream.codec_context.thread_count = 1  # one take a process, one thread a take
        return stream

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(self) -> Iterator[Frame]:
        """All frames in the order shown. A file that ends early gives what it holds and sets `cut_short`.

        Raises:
            Reject: a frame of another size than the first, pixels that can't be made RGB, or not a single frame that
                decodes within the limit.
        """
        reformatter = VideoReformatter()
        for time, picture in self._timed_pictures():
            try:
                rgb = reformatter.reformat(picture, format="rgb24", threads=1).to_ndarray()
            except (av.error.FFmpegError, ValueError) as error:
                message = f"{self.name} has pixels of a kind that is not known here ({_cause(error)})"
                raise Reject("decode", "unknown_pixels", message) from None
            quarter_turns = round(picture.rotation / 90) % 4  # of the display matrix, counter-clockwise
            yield Frame(time, np.ascontiguousarray(np.rot90(rgb, quarter_turns)) if quarter_turns else rgb)

    def times(self) -> list[float]:
        """The time in seconds of every frame, by decoding them all: a container's own count is not reliable.

        Raises:
            Reject: as `frames`.
        """
        return [time for time, _ in self._timed_pictures()]

    def nearest(self, times: Iterable[float]) -> Iterator[Frame]:
        """For each time in seconds, ascending, the frame nearest to it, carrying that time; ends with the video.

        A time that lies no more than half a frame behind the last frame still gets it. Decoding stops with the
        last frame that is wanted.
        """
        nearest = NearestInTime(times)
        for frame in self.frames():
            for time, rgb in nearest.take(frame.time, frame.rgb):
                yield Frame(time, rgb)
            if nearest.done:
                return
        for time, rgb in nearest.rest(0.5 / self.fps):
            yield Frame(time, rgb)

    def _timed_pictures(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Pictures and their seconds from the first one, never running back."""
        first = size = None
        latest = 0.0
        for index, picture in enumerate(self._pictures()):
            size = size or (picture.width, picture.height)
            if (picture.width, picture.height) != size:
                raise Reject("decode", "size_changes", f"{self.name} changes its size after {index} frames")
            time = picture.time if picture.time is not None else index / self.fps
            if first is None:
                first = self.start_s = time
            latest = max(latest, time - first)
            yield latest, picture
        if first is None:
            raise Reject(
                "decode",
                "no_frames",
                f"{self.name} has no frame that decodes ({self.cut_short or 'empty stream'})",
            )

    def _pictures(self) -> Iterator[av.VideoFrame]:
        try:
            yield from self._container.decode(self._stream)
        except (av.error.FFmpegError, ValueError) as error:
            self.cut_short = _cause(error)


def sample_times(content: bytes, name: str, count: int, sampling: Literal["first", "uniform"] = "first") -> list[float]:
    """The times in seconds at which a clip of `count` frames is taken from a video, for `Video.nearest`.

    Args:
        sampling: "first" takes the first ones at 29.97 a second, which is each frame of a source of that very rate;
            "uniform" spreads them over the whole take, first and last frame included, unless it is shorter.

    Raises:
        Reject: stage "decode", as `Video.times`.
    """
    times = [k / float(RATE) for k in range(count)]
    if sampling == "uniform":
        with Video(content, name) as video:
            length = video.times()[-1]
        if length > times[-1]:
            times = [k * length / max(count - 1, 1) for k in range(count)]
    return times


def _cause(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
