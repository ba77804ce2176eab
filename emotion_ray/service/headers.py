"""What every answer says to a browser: run nothing of others, guess nothing, keep nothing."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
RESULT = ALWAYS | {"Cache-Control": "no-store"}
OF_PAGE = ALWAYS | {"Cache-Control": "no-cache"}
PAGE = "/page/"


class Headers:
    """Adds them to every HTTP answer. The page's files may be kept if asked after, results may not at all."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                of_page = scope["path"] == "/" or scope["path"].startswith(PAGE)
                headers = MutableHeaders(scope=message)
                for name, value in (OF_PAGE if of_page else RESULT).items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
