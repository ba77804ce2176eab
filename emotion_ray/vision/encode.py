"""Video out: H.264 in mp4, as every browser plays it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from emotion_ray.errors import EmotionRayError
from emotion_ray.vision.sampling import SAME_TIME_S
from emotion_ray.vision.sound import Sound

QUALITY = 20  # x264's constant rate factor: hardly to be told from the source
PRESET = "veryfast"
TICKS_A_SECOND = 10_000  # at least: the times of a variable rate are kept to a tenth of a millisecond
RATES = (*(Fraction(n * 1000, 1001) for n in (24, 30, 60)), *map(Fraction, (10, 12, 15, 20, 24, 25, 30, 50, 60)))
BT_709, UNSPECIFIED, BT_601 = 1, 2, (5, 6)  # ISO/IEC 23091-4's numbers of matrix coefficients


class H264Writer:
    """Writes pictures of one size with their times, and a sound; use it as a context manager.

    A side of an odd number of px grows by one, the edge repeated: the format knows even ones only.

    Args:
        path: of the mp4; a file that is there is replaced.
        fps: frames a second that the file is to declare.
        colorspace: `Video.colorspace` of the source, whose colours it is to show.
        sound: to be heard with it.
        threads: that the encoder may use; 0: one a CPU.

    Raises:
        EmotionRayError: the file can't be written; from all methods.
    """

    def __init__(
        self, path: Path, fps: float, colorspace: int = UNSPECIFIED, sound: Sound | None = None, threads: int = 0
    ):
        self._path = path
        self._rate = declared_rate(fps)
        self._time_base = 1 / (self._rate.numerator * Fraction(-(-TICKS_A_SECOND // self._rate.numerator)))
        self._colorspace = colorspace if colorspace in (UNSPECIFIED, *BT_601) else BT_709
        self._sound = sound if sound is not None and sound.is_there else None
        self._threads = threads
        self._reformatter = VideoReformatter()
        self._stream: av.VideoStream | None = None
        self._last = -1  # time of the last picture, in ticks
        with self._told():
            # absolute: FFmpeg takes what stands before a colon in a relative one for a protocol
            self._container = av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "+faststart"})

    def __enter__(self) -> "H264Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OSError, av.error.FFmpegError):  # it would hide what went wrong before
                self._container.close()
            return
        with self._told():
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
                self._add_sound(float("inf"))
            self._container.close()

    def add(self, rgb: np.ndarray, time: float) -> None:
        """The next picture, uint8 [H, W, 3] RGB, shown from `time` in seconds on, which is 0 for the first."""
        height, width = rgb.shape[:2]
        if height % 2 or width % 2:
            rgb = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        with self._told():
            if self._stream is None:
                self._begin(*rgb.shape[:2])
            picture = self._reformatter.reformat(
                av.VideoFrame.from_ndarray(rgb, format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709 if self._colorspace == BT_709 else Colorspace.ITU601,
                threads=1,
            )
            picture.pts, picture.time_base = self._tick(time), self._time_base
            self._container.mux(self._stream.encode(picture))
            self._add_sound(time)

    def _begin(self, height: int, width: int) -> None:
        options = {"preset": PRESET, "crf": str(QUALITY)}
        self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._time_base
        context.thread_count = self._threads
        if self._colorspace != UNSPECIFIED:
            context.colorspace = self._colorspace
        if self._colorspace == BT_709:
            context.color_primaries = context.color_trc = BT_709  # the same number in all three tables
        if self._sound is not None:
            self._sound.open_in(self._container)

    def _tick(self, time: float) -> int:
        """The time in ticks: on the rate's own grid where it is near it, and after the last picture."""
        on_grid = round(time * self._rate) / self._rate
        exact = on_grid if abs(on_grid - time) <= SAME_TIME_S else Fraction(time)
        self._last = max(round(exact / self._time_base), self._last + 1)
        return self._last

    def _add_sound(self, time: float) -> None:
        if self._sound is None:
            return
        for packet in self._sound.until(time):
            try:
                self._container.mux(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError):
                self._sound.is_damaged = True  # bytes or times that mp4 does not take; the next ones may be whole

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.error.FFmpegError) as error:
            cause = error.strerror or error
            raise EmotionRayError(f"can't write {self._path}: {cause}; free space or give another folder") from None


def declared_rate(fps: float) -> Fraction:
    """Frames a second as a fraction: a usual rate where it is that but for rounding, else as near as 1/1001."""
    near = min(RATES, key=lambda rate: abs(rate - fps))
    return near if abs(near - fps) < 2e-4 * fps else Fraction(fps).limit_denominator(1001)
