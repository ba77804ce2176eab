"""What stands in Ray Serve's own HTTP proxy, in front of the replicas.

A replica that dies leaves its requests without an answer, and a proxy that refuses or times out answers in plain
text: clients get problem documents for both. What a client does not read stays in the proxy's memory, so the pace is
watched here too. The proxy is told of this module by the variable `CALLBACK`.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emotion_ray.service.pace import Pace
from emotion_ray.service.problems import MEDIA_TYPE, Problem, busy

CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
TIMEOUT_HEADER = "x-request-timeout-seconds"
"""By it Serve's load balancer tells the proxy how long this request may take; nobody else is to."""
LEFT_TO_THE_SERVICE = "0"  # no limit of Serve's: a live session has its own
STARTS = {"http": "http.response.start", "websocket": "websocket.accept"}


class ProblemsOfServe:
    """Turns the proxy's own answers, and its silence after a replica's death, into problem documents."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in STARTS:
            await self._app(scope, receive, send)
            return
        scope = {**scope, "headers": list(scope["headers"])}
        headers = MutableHeaders(scope=scope)
        del headers[TIMEOUT_HEADER]
        if scope["type"] == "websocket":
            headers[TIMEOUT_HEADER] = LEFT_TO_THE_SERVICE
        answer = _Answer(send)
        await self._app(scope, receive, answer.send)
        if scope["type"] == "http" and not answer.started:
            await _died().response()(scope, receive, send)


class _Answer:
    """Passes an answer on, but for one that is Serve's own: that becomes a problem document."""

    def __init__(self, send: Send):
        self._send = send
        self._replaced = False
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == STARTS["http"]:
            self.started = True
            problem = _of_serve(message)
            if problem is not None:
                self._replaced = True
                await problem.response()({"type": "http"}, None, self._send)
        if not self._replaced:
            await self._send(message)


def middlewares() -> list[Middleware]:
    """What Serve's proxy asks for."""
    return [Middleware(Pace), Middleware(ProblemsOfServe)]


def _of_serve(message: Message) -> Problem | None:
    """The problem for the beginning of an answer that Serve itself gives; None for the app's own answers."""
    status, headers = message["status"], Headers(raw=message["headers"])
    if status not in (408, 429, 500, 503) or headers.get("content-type", "").startswith(MEDIA_TYPE):
        return None
    if status == 429:
        return busy("All replicas are busy and their queue is full: send it again in a moment.")
    if status == 408:
        return Problem(503, "request_timeout", "The service did not answer in time.", {"Retry-After": "1"})
    return _died() if status == 500 else busy("No replica can take this now: send it again in a moment.", 503)


def _died() -> Problem:
    return busy("The process that worked on this has ended, and nothing came of it: send it again.", 503)
