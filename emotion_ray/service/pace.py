"""An answer on its way out. What its client has not read yet stays in memory, so there is a slowest pace."""

import asyncio
import contextlib
import logging
import time

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE = 256 * 1024  # bytes of an answer that are handed on at a time
GRACE_S = 30.0  # that a client may keep us waiting in all,
SLOWEST = 100_000  # and a second more for so many bytes that it has read
log = logging.getLogger(__name__)


class Pace:
    """Hands answers on in pieces, and cuts off a client that reads them too slowly."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with contextlib.suppress(_TooSlow):
            await self._app(scope, receive, _Pieces(send).send)


class WholeAnswer(Response):
    """An answer that is not over before its client has read it, is gone, or took too long for it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_limit_s(len(self.body))):
                while (await receive())["type"] != "http.disconnect":  # of a whole answer it says that it was read
                    pass


class _TooSlow(Exception):
    """The client reads too slowly; the server closes a connection whose answer ends in the middle."""


class _Pieces:
    """Sends one answer in pieces; the server takes a piece when most of those before have been read."""

    def __init__(self, send: Send):
        self._send = send
        self._waited_s = 0.0
        self._sent = 0  # bytes

    async def send(self, message: Message) -> None:
        body = message.get("body", b"")
        last = max(len(body) - 1, 0) // PIECE * PIECE  # where the last piece begins
        for at in range(0, last, PIECE):
            await self._send_piece({**message, "body": body[at : at + PIECE], "more_body": True})
        await self._send_piece({**message, "body": body[last:]} if last else message)

    async def _send_piece(self, message: Message) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_limit_s(self._sent) - self._waited_s):
                await self._send(message)
        except TimeoutError:
            log.info("an answer was cut off after %d bytes: its client reads too slowly", self._sent)
            raise _TooSlow from None
        self._waited_s += time.monotonic() - began
        self._sent += len(message.get("body", b""))


def _limit_s(read: int) -> float:
    """Seconds that a client may keep us waiting when it has read so many bytes."""
    return GRACE_S + read / SLOWEST
