"""A video that takes next to no time to crop: eight frames of a face, 64x48 px."""

import io
from fractions import Fraction

import av
import cv2
import numpy as np
from skimage.data import astronaut

FRAMES = 8
SIZE = 16
"""Height and width of a crop, px."""


def tiny_video(scale: int = 1, darker: int = 0) -> bytes:
    """H.264 in MP4; the face is found in every frame.

    Args:
        scale: times 64x48 px, for one that takes longer.
        darker: levels of 0..255 by which every pixel is darker, to tell one video from another.
    """
    width, height = 64 * scale, 48 * scale
    picture = cv2.subtract(cv2.resize(astronaut()[20:260, 100:420], (width, height)), (darker,) * 3)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(FRAMES):
            moved = np.roll(picture, index % 3 * scale, axis=1)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        target.mux(stream.encode())
    return file.getvalue()
