"""Pictures with known faces: a portrait, scaled, put on grey."""

from functools import cache

import cv2
import numpy as np
from skimage.data import astronaut

HEIGHT, WIDTH = 360, 640


@cache
def head() -> np.ndarray:
    """uint8 [240, 240, 3] RGB; the face is about 100 px wide and 130 px high, in its middle."""
    return astronaut()[10:250, 105:345]


def scene(*heads: tuple[float, int, int], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A picture, uint8 [height, width, 3] RGB, with the portrait at each (scale, x, y): its centre in px."""
    picture = np.full((height, width, 3), 128, np.uint8)
    for scale, x, y in heads:
        side = round(240 * scale)
        small = cv2.resize(head(), (side, side), interpolation=cv2.INTER_AREA)
        top, left = y - side // 2, x - side // 2
        seen = small[max(-top, 0) : height - top, max(-left, 0) : width - left]
        picture[max(top, 0) : max(top, 0) + seen.shape[0], max(left, 0) : max(left, 0) + seen.shape[1]] = seen
    return picture


def grey(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return scene(height=height, width=width)
