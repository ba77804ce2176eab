"""Videos whose every frame bears its number, in bars that no codec loses."""

import io
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import av
import numpy as np

HEIGHT, WIDTH, BITS = 64, 128, 8
CODECS = {
    "mp4": "libx264",
    "mov": "libx264",
    "avi": "mpeg4",
    "mkv": "libx264",
    "webm": "libvpx",
    "flv": "flv",
}


def numbered(number: int) -> np.ndarray:
    """A picture, uint8 [64, 128, 3], of eight bars: the number's bits."""
    bits = (number >> np.arange(BITS)) & 1
    row = (40 + 180 * bits).astype(np.uint8).repeat(WIDTH // BITS)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def number_of(picture: np.ndarray) -> int:
    assert picture.shape == (HEIGHT, WIDTH, 3)
    bars = picture.mean(axis=(0, 2)).reshape(BITS, -1).mean(axis=1)
    return int(((bars > 130) << np.arange(BITS)).sum())


@cache
def counted_video(
    container: str = "mp4",
    frames: int = 60,
    rate: Fraction = Fraction(30000, 1001),
    milliseconds: Sequence[int] | None = None,
    options: tuple[tuple[str, str], ...] = (),
    title: bytes = b"",
) -> bytes:
    """A video of numbered frames.

    Args:
        milliseconds: the time of each frame, for a variable rate; a tuple.
        options: of the muxer.
        title: metadata, as bytes in any encoding; as many as it replaces.
    """
    file = io.BytesIO()
    with av.open(file, "w", format={"mkv": "matroska"}.get(container, container), options=dict(options)) as target:
        settings = {"preset": "ultrafast"} if CODECS[container] == "libx264" else {"b": "2000000"}
        stream = target.add_stream(CODECS[container], rate=rate, options=settings)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if title:
            target.metadata["title"] = "T" * len(title)
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            if milliseconds:
                picture.pts, picture.time_base = milliseconds[number], Fraction(1, 1000)
            target.mux(stream.encode(picture))
        target.mux(stream.encode())
    return file.getvalue().replace(b"T" * len(title), title) if title else file.getvalue()
