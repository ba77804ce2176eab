"""Who may use the service: an API key, and no page of somebody else's.

A browser sends requests to loopback for any page that its user has open. So each request says under which name it
reached us (`Host`: a name of the page's own that points here is DNS rebinding) and which page sent it (`Origin`).
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from emotion_ray.errors import EmotionRayError
from emotion_ray.service.problems import Problem
from emotion_ray.settings import ServeSettings
from emotion_ray.settings.checks import home_filled_in

KEY_VARIABLE = "EMOTION_RAY_API_KEY"
SHORTEST_KEY = 16  # characters
OPEN_TO_ALL = ("/healthz", "/readyz")
POLICY_VIOLATION = 1008  # a websocket's close code


@dataclass(frozen=True)
class Access:
    """Who may use the service.

    Attributes:
        key_digest: SHA-256 of the API key, so that the key itself stays with the process that read it; None: no key.
        allowed_hosts: names under which the service may be reached, beside localhost and plain IP addresses.
    """

    key_digest: bytes | None = None
    allowed_hosts: tuple[str, ...] = ()

    def check_address(self, host: str) -> None:
        """Looks at where the service listens: without a key others must not reach it.

        Raises:
            EmotionRayError: they could.
        """
        if self.key_digest is None and not _is_loopback(host):
            raise EmotionRayError(
                f"without an API key the service listens on this machine alone, not on {host}: "
                f"set {KEY_VARIABLE} or give --api-key-file"
            )

    def check_key(self, key: str | None) -> None:
        """Compares in constant time.

        Raises:
            Problem: 401, a key is needed and this is not it.
        """
        if self.key_digest is None:
            return
        if not hmac.compare_digest(_digest(key or ""), self.key_digest):
            detail = "Give the API key of this service: Authorization: Bearer KEY, or a live session's first message."
            raise Problem(401, "wrong_key", detail, {"WWW-Authenticate": "Bearer"})

    def check_headers_key(self, headers: Headers) -> None:
        """As `check_key`, with what stands in `Authorization: Bearer KEY`."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        self.check_key(key.strip() if scheme.lower() == "bearer" else None)

    def check_host(self, headers: Headers) -> None:
        """Refuses what is sent to another name than ours.

        Raises:
            Problem: 421, the request names a host that is not ours.
        """
        name = _host_name(headers.get("host", ""))
        if name is None or not (name == "localhost" or _is_address(name) or name in self.allowed_hosts):
            detail = "This service does not go by that host name; who runs it can add names with --allowed-hosts."
            raise Problem(421, "foreign_host", detail)

    def check_origin(self, headers: Headers) -> None:
        """Refuses what another site's page makes a browser send.

        Raises:
            Problem: 403, another site's page sent the request.
        """
        origin = headers.get("origin")
        if origin is not None and _network_location(origin) != headers.get("host", "").lower():
            raise Problem(403, "foreign_origin", "Pages of other sites may not use this service.")


class Guard:
    """Checks `Host` and `Origin` of every request and websocket before the app sees them."""

    def __init__(self, app: ASGIApp, access: Access):
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in OPEN_TO_ALL:
            headers = Headers(scope=scope)
            try:
                self._access.check_host(headers)
                if scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD"):
                    self._access.check_origin(headers)
            except Problem as problem:
                refuse = WebSocketClose(POLICY_VIOLATION) if scope["type"] == "websocket" else problem.response()
                await refuse(scope, receive, send)
                return
        await self._app(scope, receive, send)


def access_of(settings: ServeSettings) -> Access:
    """Reads the API key, from the file of the settings or else from `$EMOTION_RAY_API_KEY`.

    Raises:
        EmotionRayError: the key can't be read or used, or others could reach the service and it has none.
    """
    key = _read_key(settings)
    if key is not None and len(key) < SHORTEST_KEY:
        raise EmotionRayError(f"the API key has {len(key)} characters: give it at least {SHORTEST_KEY}")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise EmotionRayError("the API key can't travel in a header: use ASCII letters, digits and signs, on one line")
    names = tuple(name.lower() for name in settings.allowed_hosts)
    access = Access(None if key is None else _digest(key), names)
    access.check_address(settings.host)
    return access


def _read_key(settings: ServeSettings) -> str | None:
    if settings.api_key_file is None:
        return os.environ.get(KEY_VARIABLE, "").strip() or None
    path = home_filled_in(settings.api_key_file)
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EmotionRayError(f"can't read the API key from {path}: {getattr(error, 'strerror', error)}") from None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _host_name(host: str) -> str | None:
    """The name or address in a Host header, without its port; None where that is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _network_location(origin: str) -> str | None:
    """Host and port of an Origin header; None where it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
