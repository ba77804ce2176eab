"""Short videos that take no time to make and to crop: a portrait that moves a little, or none."""

import io
import zipfile
from collections.abc import Iterable
from fractions import Fraction
from functools import cache

import av
import cv2
import numpy as np
from skimage.data import astronaut

from emotion_ray.data.ravdess import Code

HEIGHT, WIDTH = 240, 320


@cache
def portrait_video(
    frames: int = 15, shift: int = 0, face: bool = True, scale: int = 1, seen: int | None = None
) -> bytes:
    """H.264 in MP4, 320x240 px times `scale`, 29.97 frames a second; `shift` in px tells one video from another.

    The face is there in the first `seen` frames, or in all.

    Its index comes piece by piece, so that what is left of a file that was cut off can be played.
    """
    picture = cv2.resize(astronaut()[0:300, 50:450], (scale * WIDTH, scale * HEIGHT), interpolation=cv2.INTER_AREA)
    grey = np.full_like(picture, 128)
    seen = (frames if seen is None else seen) if face else 0
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}) as target:
        stream = target.add_stream("libx264", rate=Fraction(30000, 1001), options={"preset": "ultrafast", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = scale * WIDTH, scale * HEIGHT, "yuv420p"
        for index in range(frames):
            moved = np.roll(picture if index < seen else grey, (shift + index) % 20, axis=1)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        target.mux(stream.encode())
    return file.getvalue()


@cache
def sound_only() -> bytes:
    """An mp4 of a second of silence and no picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return file.getvalue()


def codes(actor: int, count: int) -> list[Code]:
    """The first codes of an actor's takes, of as many emotions as may be."""
    return [
        Code(1, 1, emotion, 1, statement, repetition, actor)
        for statement, repetition in ((1, 1), (1, 2), (2, 1), (2, 2))
        for emotion in range(8)
    ][:count]


def zipped(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip archive, stored and not packed as RAVDESS's are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def actor_archive(actor: int, count: int, extra: Iterable[tuple[str, bytes]] = (), frames: int = 15) -> bytes:
    """An actor's archive with RAVDESS's layout, of `count` portrait videos, all different, and `extra` members."""
    takes = [(code.member, portrait_video(frames, index)) for index, code in enumerate(codes(actor, count))]
    return zipped([*takes, *extra])
