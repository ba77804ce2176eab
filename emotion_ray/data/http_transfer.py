"""One HTTP transfer: the request for a file from some byte on, what the server makes of it, the bytes."""

import base64
import email.utils
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import SplitResult, unquote, urlsplit

from emotion_ray.errors import EmotionRayError, Reject

_CHUNK = 1 << 18
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}
"""Statuses worth another try (RFC 9110 section 15, RFC 6585 section 4)."""


class TransferError(Exception):
    """A transfer failed in a way that may pass.

    Attributes:
        reason: a slug.
        message: what happened, for the person.
        wait_s: seconds that the server asked us to wait, or 0.
        restart: whether what has come is of no use to the next try.
    """

    def __init__(self, reason: str, message: str, *, wait_s: float = 0.0, restart: bool = False):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.wait_s = wait_s
        self.restart = restart


@dataclass(frozen=True)
class Answer:
    """What a server is about to send.

    Attributes:
        start: the first byte's place in the file; 0 where the server does not honour ranges.
        total: bytes of the whole file, or None if it does not say.
        validator: a strong ETag, else Last-Modified, else None; for If-Range.
    """

    response: http.client.HTTPResponse
    start: int
    total: int | None
    validator: str | None


def checked_url(url: str) -> SplitResult:
    """The parts of an http, https or file URL.

    Raises:
        EmotionRayError: it is none.
    """
    try:
        parts = urlsplit(url)
        sound = parts.port is None or parts.port > 0
    except ValueError:
        raise EmotionRayError("the archive's URL is malformed; check --base-url") from None
    if parts.scheme not in ("http", "https", "file"):
        raise EmotionRayError(f"{shown(url)!a}: only http, https and file URLs are fetched; check --base-url")
    if parts.scheme == "file":
        sound = parts.netloc in ("", "localhost")
    elif not parts.hostname or not re.fullmatch(r"[!-~]+", url):
        sound = False
    if not sound:
        raise EmotionRayError(f"{shown(url)!a} is no URL; check --base-url, encode unusual characters")
    return parts


def shown(url: str) -> str:
    """A URL as it may be shown: without user, password, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def open_from(url: str, start: int, validator: str | None, timeout_s: float) -> Answer:
    """Asks for a file from byte `start` on; the caller closes `response`.

    Raises:
        TransferError: another try may succeed.
        Reject: no other try will (reasons not_found, forbidden, http_error, bad_redirect, bad_certificate).
    """
    request = _request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = _opener().open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with closing(error):
            raise _refusal(error, url, start) from None
    except (OSError, http.client.HTTPException) as error:
        raise _failure(error, url, timeout_s) from None
    except ValueError:  # of an address that it redirects to
        raise _bad_redirect(url) from None
    try:
        return _answer(response, start)
    except TransferError:
        response.close()
        raise


def chunks(answer: Answer, timeout_s: float, slowest_bytes_per_s: float) -> Iterator[bytes]:
    """The bytes, as they come, until the server has no more (which may be too early).

    Raises:
        TransferError: the connection broke, nothing came for `timeout_s` seconds, or less than
            `slowest_bytes_per_s` over as long.
    """
    since, count = time.monotonic(), 0
    while True:
        try:
            chunk = answer.response.read1(_CHUNK)  # one recv: read() would wait for the last of a slow drip
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, answer.response.url, timeout_s) from None
        if not chunk:
            return
        yield chunk
        count += len(chunk)
        seconds = time.monotonic() - since
        if seconds >= timeout_s:
            if count < slowest_bytes_per_s * seconds:
                raise TransferError("too_slow", f"only {count / seconds:.0f} bytes a second are coming")
            since, count = time.monotonic(), 0


def retry_after_s(header: str | None, now: datetime) -> float:
    """Seconds to wait by a Retry-After header, in either of its forms (RFC 9110 section 10.2.3), else 0."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,10}", text):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - now).total_seconds())


def _request(url: str) -> urllib.request.Request:
    parts = checked_url(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host, fragment="").geturl())
    request.add_header("User-Agent", "emotion-ray")
    request.add_header("Accept-Encoding", "identity")
    if user:  # not sent on to where a redirect leads
        token = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but only to http and https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        fp.close()  # urllib would read what comes with the redirect, however long that is
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Proxies(urllib.request.ProxyHandler):
    """The proxies of the environment, but not for this machine itself: they could not reach it."""

    def proxy_open(self, req, proxy, type):
        host = urlsplit(req.full_url).hostname or ""
        if host == "localhost" or re.fullmatch(r"127(\.[0-9]+){3}|::1", host):
            return None
        return super().proxy_open(req, proxy, type)


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https alone, unlike urllib's default, which also opens file, ftp and data URLs."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Proxies(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), _HttpRedirects(),
        urllib.request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _answer(response: http.client.HTTPResponse, asked: int) -> Answer:
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    validator = etag if etag and etag.startswith('"') else modified
    if response.status == 200:
        return Answer(response, 0, response.length, validator)
    content_range = response.headers.get("Content-Range", "")
    span = re.fullmatch(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})", content_range)
    if response.status != 206 or not span or int(span[1]) != asked:
        message = f"the server answered HTTP {response.status}, but not with the bytes asked for"
        raise TransferError("bad_answer", message, restart=True)
    return Answer(response, asked, int(span[2]), validator)


def _bad_redirect(url: str) -> Reject:
    return Reject("fetch", "bad_redirect", f"{shown(url)} redirects in circles or to no http(s) URL")


def _refusal(error: urllib.error.HTTPError, url: str, start: int) -> TransferError | Reject:
    status = error.code
    if status in _MAY_PASS:
        reason = "rate_limited" if status == 429 else "server_error"
        wait_s = retry_after_s(error.headers.get("Retry-After"), datetime.now(UTC))
        return TransferError(reason, f"the server answered HTTP {status}", wait_s=wait_s)
    if status in (404, 410):
        what = "is not there; check --base-url, or put the file into the cache folder by hand"
        return Reject("fetch", "not_found", f"{shown(url)} {what} (HTTP {status})")
    if status in (401, 403, 407):
        return Reject("fetch", "forbidden", f"{shown(url)} may not be fetched; check access (HTTP {status})")
    if 300 <= status < 400:
        return _bad_redirect(url)
    if start:
        return TransferError("range_refused", f"the server answered HTTP {status} to a range", restart=True)
    return Reject("fetch", "http_error", f"{shown(url)} cannot be fetched; check --base-url (HTTP {status})")


def _failure(error: Exception, url: str, timeout_s: float) -> TransferError | Reject:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Reject("fetch", "bad_certificate", f"{shown(url)}: its certificate is invalid")
    if isinstance(cause, TimeoutError):
        return TransferError("timeout", f"the server sent nothing for {timeout_s:g} s")
    # Not the whole text: http.client's may quote the URL, secrets and all.
    detail = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    return TransferError("connection_lost", f"the connection failed ({detail})")
