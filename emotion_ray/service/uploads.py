"""An upload as it comes in: counted while it does, refused as soon as it is too much, and never on a disk."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from emotion_ray.service.problems import Problem
from emotion_ray.settings import ServeLimits

FIELDS = ("model", "stride", "annotate")
LONGEST_FIELD = 1000  # bytes
ENVELOPE = 16_384  # bytes that a form may take beside the video in it
LONGEST_NAME = 200  # characters of a file's name that are told again


@dataclass(frozen=True, eq=False)
class Upload:
    """A form that came in whole.

    Attributes:
        name: of the video's file, for messages.
        content: the encoded video.
        fields: texts by the name of the field, of those in `FIELDS`.
        seconds: that it took to come in.
        ended: when it was in, as `time.monotonic` tells.
    """

    name: str
    content: bytes
    fields: dict[str, str]
    seconds: float
    ended: float


class _InMemory(MultiPartParser):
    spool_max_size = 0  # never rolled over to a file: nothing that was uploaded is to be found on a disk


async def read_upload(request: Request, limits: ServeLimits) -> Upload:
    """Reads a multipart form with one file, `video`.

    Raises:
        Problem: 400, 408, 413, 415 or 422; what is wrong with the form.
    """
    began = time.monotonic()
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "no_form", "Send the video as a multipart form (multipart/form-data), in the field video.")
    try:
        announced = int(request.headers.get("content-length", "0"))
    except ValueError:
        raise Problem(400, "bad_length", "Content-Length is no number.") from None
    most = limits.max_body + ENVELOPE
    if announced > most:
        raise _too_large(limits)
    counted = _counted(request, limits, most)
    parser = _InMemory(request.headers, counted, max_files=1, max_fields=len(FIELDS), max_part_size=LONGEST_FIELD)
    try:
        async with asyncio.timeout(limits.upload_limit_s):
            form = await parser.parse()
    except TimeoutError:
        detail = f"The upload took longer than {limits.upload_limit_s:g} s."
        raise Problem(408, "upload_too_slow", detail, {"Connection": "close"}) from None
    except ClientDisconnect:  # nobody hears it, but it is no error of ours
        raise Problem(400, "cut_off", "The upload ended before it was whole.") from None
    except (MultiPartException, FormParserError) as error:
        raise Problem(400, "broken_form", f"The form can't be read: {getattr(error, 'message', error)}") from None
    try:
        name, content, fields = await _taken_out(form.multi_items(), limits)
    finally:
        await form.close()
    ended = time.monotonic()
    return Upload(name, content, fields, ended - began, ended)


async def _counted(request: Request, limits: ServeLimits, most: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise _too_large(limits)
        yield chunk


async def _taken_out(
    items: list[tuple[str, UploadFile | str]], limits: ServeLimits
) -> tuple[str, bytes, dict[str, str]]:
    """The video's name and content, and the other fields of a form."""
    video: UploadFile | None = None
    fields: dict[str, str] = {}
    for name, value in items:
        if name == "video" and isinstance(value, UploadFile):
            video = value
        elif name in FIELDS and isinstance(value, str) and name not in fields:
            fields[name] = value
        else:
            known = ", ".join(FIELDS)
            raise Problem(422, "unknown_field", f"The form has a field {name[:50]!r}: it takes video, {known}.")
    if video is None:
        raise Problem(422, "no_file", "The form has no file in its field video.")
    content = await video.read()
    if not content:
        raise Problem(422, "empty_file", "The video is empty.")
    if len(content) > limits.max_body:
        raise _too_large(limits)
    shown = "".join(char for char in video.filename or "" if char.isprintable())[:LONGEST_NAME]
    return shown or "the video", content, fields


def _too_large(limits: ServeLimits) -> Problem:
    detail = f"The upload is larger than {limits.max_body_mb:g} MB."
    return Problem(413, "too_large", detail, {"Connection": "close"})
