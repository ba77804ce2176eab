"""The sound of a video, handed on into another: copied where an mp4 in a browser plays it, else made AAC."""

from collections.abc import Iterator
from itertools import chain

import av

from emotion_ray.vision.video import open_bytes

COPIED = ("aac", "mp3", "opus")  # what browsers play out of an mp4
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)  # Hz
BIT_RATE = 128_000
LOWEST_MP3_RATE = 16000  # Hz: mp4 knows MPEG-1 and MPEG-2 alone, not Flash's MPEG-2.5


class Sound:
    """The first audio stream of a video, packet by packet; use it as a context manager.

    Attributes:
        is_there: whether there is one that can be read.
        is_damaged: whether some of it could not be read.

    Args:
        content: the whole file.
        start_s: the time in seconds, as the file has it, that is to become 0.
        most_s: seconds after which no more is given: a small file may hold days of silence.
    """

    def __init__(self, content: bytes, start_s: float, most_s: float = float("inf")):
        self.is_damaged = False
        self._start_s = start_s
        self._most_s = most_s
        self._source = open_bytes(content)
        known = [stream for stream in self._source.streams.audio if stream.codec_context and stream.rate]
        self._stream: av.AudioStream | None = known[0] if known else None
        self.is_there = self._stream is not None
        self._next: av.Packet | None = None

    def __enter__(self) -> "Sound":
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def open_in(self, target: av.container.OutputContainer) -> None:
        """Adds its stream to a file that is being written, before the first packet of any stream."""
        if self._can_be_copied():
            self._out = target.add_stream_from_template(self._stream)
            self._packets = self._copied()
        else:
            rate = self._stream.rate if self._stream.rate in AAC_RATES else 48000
            self._out = target.add_stream("aac", rate=rate)
            self._out.layout = "mono" if self._stream.channels == 1 else "stereo"
            self._out.bit_rate = BIT_RATE
            self._packets = self._encoded()

    def until(self, time: float) -> Iterator[av.Packet]:
        """The next packets, up to a time in seconds; infinity for all the rest."""
        until = min(time, self._most_s)
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None or self._next.pts * self._next.time_base > until:
                return
            packet, self._next = self._next, None
            yield packet

    def _can_be_copied(self) -> bool:
        context = self._stream.codec_context
        name = context.codec.canonical_name
        if name == "mp3":
            return self._stream.rate >= LOWEST_MP3_RATE
        return name in COPIED and bool(context.extradata)  # what mp4 is to tell a player before the first packet

    def _copied(self) -> Iterator[av.Packet]:
        last = None
        for packet in self._demuxed():
            if packet.pts is None or packet.dts is None or (last is not None and packet.dts <= last):
                continue  # the end of the stream; or a damaged time, which the file being written can't take
            last = packet.dts
            shift = round(self._start_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._out
            yield packet

    def _encoded(self) -> Iterator[av.Packet]:
        context = self._out.codec_context
        resampler = av.AudioResampler("fltp", context.layout, context.rate, frame_size=1024)  # AAC's
        shift = round(self._start_s * context.rate)
        for frame in chain(self._decoded(), [None]):
            try:
                for resampled in resampler.resample(frame):
                    resampled.pts = resampled.pts - shift
                    yield from self._out.encode(resampled)
            except (av.error.FFmpegError, ValueError, TypeError):  # another rate, no number, or no time
                self.is_damaged = True
        yield from self._out.encode(None)

    def _decoded(self) -> Iterator[av.AudioFrame]:
        for packet in self._demuxed():
            try:
                yield from packet.decode()
            except (av.error.FFmpegError, ValueError):
                self.is_damaged = True  # what follows may be whole again

    def _demuxed(self) -> Iterator[av.Packet]:
        try:
            yield from self._source.demux(self._stream)
        except (av.error.FFmpegError, ValueError):
            self.is_damaged = True
