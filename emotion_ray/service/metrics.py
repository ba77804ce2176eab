"""What is measured while the service works; who runs it says where to."""

import time
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Metrics(Protocol):
    """Takes measurements. Its methods are called from several threads and give nothing."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered; of a live session, its close code and how long it lasted."""

    def worked(self, frames: int, faces: int, seconds: float) -> None:
        """So many frames of video went through the engine in so many seconds, and so many new faces were followed."""

    def waiting(self, uploads: int) -> None:
        """Uploads that wait for their turn now."""

    def dropped(self, frames: int) -> None:
        """Frames of a live session were dropped because newer ones had come."""


class Unmeasured:
    """`Metrics` that go nowhere."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        pass

    def worked(self, frames: int, faces: int, seconds: float) -> None:
        pass

    def waiting(self, uploads: int) -> None:
        pass

    def dropped(self, frames: int) -> None:
        pass


class Measured:
    """Measures every HTTP answer of an app; a live session measures itself."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, answered = time.monotonic(), 500, None

        async def with_status(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.monotonic()  # how fast it is read is the client's affair
            await send(message)

        try:
            await self._app(scope, receive, with_status)
        finally:
            # not the path itself: whoever asks for random ones must not make a series of figures of each
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, status, (answered or time.monotonic()) - began)
