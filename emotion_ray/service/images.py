"""A JPEG or WebP picture of a live session: its size is read before anything is decoded."""

import cv2
import numpy as np

from emotion_ray.service.problems import Problem

SMALLEST_SIDE = 16  # px; the detector sees nothing in less
MOST_SCANS = 100  # of a JPEG: a progressive one has about ten, and each more goes over all pixels again
_JPEG_STANDALONE = (0x01, *range(0xD0, 0xD8))  # markers without a length: TEM and the restart markers
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the three are other segments


def decode_picture(content: bytes, max_pixels: int) -> np.ndarray:
    """uint8 [H, W, 3] RGB.

    Args:
        content: the encoded picture.
        max_pixels: a larger one is not decoded.

    Raises:
        Problem: 413 or 422; too large, of another format, or damaged.
    """
    width, height = picture_size(content)
    if width * height > max_pixels:
        raise Problem(413, "too_many_pixels", f"The picture is {width}x{height}, the limit is {max_pixels:,} px.")
    if min(width, height) < SMALLEST_SIDE:
        raise Problem(422, "too_small", f"The picture is {width}x{height}: {SMALLEST_SIDE} px a side is the least.")
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.shape != (height, width, 3):
        raise Problem(422, "bad_picture", "The picture is damaged.")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def picture_size(content: bytes) -> tuple[int, int]:
    """Width and height in px, from the header.

    JPEG: ITU-T T.81 B.1 and B.2. WebP: https://developers.google.com/speed/webp/docs/riff_container and the two
    bitstreams' own headers (RFC 6386 9.1, and the lossless format's section 3).

    Raises:
        Problem: 422, it is neither.
    """
    try:
        if content[:2] == b"\xff\xd8":
            return _jpeg_size(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return _webp_size(content)
    except (IndexError, ValueError):
        pass
    raise Problem(422, "bad_picture", "The picture is neither JPEG nor WebP, or damaged.")


def _jpeg_size(content: bytes) -> tuple[int, int]:
    if content.count(b"\xff\xda") > MOST_SCANS:
        raise ValueError("too many scans")
    at = 2
    while True:
        if content[at] != 0xFF:
            raise ValueError("no marker")
        marker = content[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif marker in _JPEG_STANDALONE:
            at += 2
        elif marker in _JPEG_FRAMES:
            return _number(content, at + 7, 2, "big"), _number(content, at + 5, 2, "big")
        elif marker in (0x00, 0xD9, 0xDA):  # of a stuffed zero decoders skip two bytes, not the length behind it
            raise ValueError("pixels before a size")
        else:
            at += 2 + _number(content, at + 2, 2, "big")


def _webp_size(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        return _number(content, 24, 3) + 1, _number(content, 27, 3) + 1
    if kind == b"VP8L" and content[20] == 0x2F:
        bits = _number(content, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        return _number(content, 26, 2) & 0x3FFF, _number(content, 28, 2) & 0x3FFF
    raise ValueError("unknown chunk")


def _number(content: bytes, at: int, count: int, order: str = "little") -> int:
    digits = content[at : at + count]
    if len(digits) < count:
        raise IndexError(at)
    return int.from_bytes(digits, order)
