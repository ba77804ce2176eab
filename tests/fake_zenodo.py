"""A small local HTTP server that plays Zenodo: the record, its files, byte ranges, and faults on demand."""

import hashlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

RECORD = 1188976
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request for a file; several may go wrong together.

    Attributes:
        status: answered in place of the file.
        headers: sent beside all others, such as `{"Retry-After": "1"}`.
        cut_after: bytes of the body after which the connection is cut.
        no_ranges: a Range is answered by 200 and the whole file.
        shift_range: Content-Range names a start this many bytes off.
        no_etag: no ETag is sent.
        no_length: the body ends where the connection does, with no Content-Length.
        trim: bytes that are missing at the file's end, as though it were that much shorter.
        spoil: the first byte sent is another than the file's.
        bytes_per_s: how fast the body is sent.
        hang: nothing is answered until the server closes.
    """

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None
    no_ranges: bool = False
    shift_range: int = 0
    no_etag: bool = False
    no_length: bool = False
    trim: int = 0
    spoil: bool = False
    bytes_per_s: float | None = None
    hang: bool = False


@dataclass
class Request:
    """A request for a file as the server saw it; `at` in seconds of `time.time()`, `sent` in bytes."""

    name: str
    at: float
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


class FakeZenodo:
    """Serves files as Zenodo does; a context manager.

    Args:
        files: name to content, in memory or on disk.
        port: 0 for any that is free.

    Attributes:
        url: the base URL, `http://127.0.0.1:PORT`.
        requests: every request for a file, in order.
        most_at_once: how many requests for files were under way together, at the most.
    """

    def __init__(self, files: Mapping[str, bytes | Path], port: int = 0):
        self.files = dict(files)
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._open: set[int] = set()
        self._faults: dict[str, deque[Fault]] = {}
        self._lasting: dict[str, Fault] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        handler = type("Handler", (_Handler,), {"zenodo": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeZenodo":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def file_url(self, name: str) -> str:
        return f"{self.url}/records/{RECORD}/files/{name}?download=1"

    def fail(self, name: str, *faults: Fault) -> None:
        """The next requests for a file meet these faults, one each."""
        with self._lock:
            self._faults.setdefault(name, deque()).extend(faults)

    def fail_always(self, name: str, fault: Fault) -> None:
        """Every further request for a file meets this fault, once those of `fail` are used up."""
        self._lasting[name] = fault

    def sent(self, name: str) -> int:
        """Bytes of a file sent so far, all requests together."""
        return sum(request.sent for request in self.requests if request.name == name)

    def content(self, name: str) -> bytes:
        content = self.files[name]
        return content.read_bytes() if isinstance(content, Path) else content

    def md5(self, name: str) -> str:
        return hashlib.md5(self.content(name), usedforsecurity=False).hexdigest()

    def record(self) -> dict:
        """The record as `/api/records/1188976` gives it, as far as it concerns files."""
        files = [
            {
                "key": name,
                "size": len(self.content(name)),
                "checksum": f"md5:{self.md5(name)}",
                "links": {"self": self.file_url(name)},
            }
            for name in self.files
        ]
        return {"id": RECORD, "doi": f"10.5281/zenodo.{RECORD}", "files": files}

    def _begin(self, request: Request) -> Fault:
        with self._lock:
            self.requests.append(request)
            self._open.add(id(request))
            self.most_at_once = max(self.most_at_once, len(self._open))
            waiting = self._faults.get(request.name)
            return waiting.popleft() if waiting else self._lasting.get(request.name, Fault())

    def _end(self, request: Request) -> None:
        with self._lock:
            self._open.discard(id(request))


class _Handler(BaseHTTPRequestHandler):
    zenodo: FakeZenodo

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        name = path.removeprefix(f"/records/{RECORD}/files/")
        if path == f"/api/records/{RECORD}":
            self._answer(200, json.dumps(self.zenodo.record()).encode(), {"Content-Type": "application/json"})
        elif name in self.zenodo.files:
            request = Request(name, time.time(), dict(self.headers))
            fault = self.zenodo._begin(request)
            try:
                self._serve(request, fault)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client went away, which is its right
            finally:
                self.zenodo._end(request)
        else:
            self._answer(404, b"no such file")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: tests read `requests`."""

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def _serve(self, request: Request, fault: Fault) -> None:
        zenodo = self.zenodo
        if fault.hang:
            zenodo._closing.wait(60)
            return
        if fault.status is not None:
            request.status = fault.status
            zenodo._end(request)
            self._answer(fault.status, b"fault", dict(fault.headers))
            return
        content = zenodo.content(request.name)
        content = content[: len(content) - fault.trim]
        etag = f'"{zenodo.md5(request.name)}"'
        start = 0 if fault.no_ranges or self.headers.get("If-Range", etag) != etag else self._range_start()
        if start is not None and start >= len(content) > 0:
            request.status = 416
            self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        request.status = 206 if start else 200
        headers = dict(fault.headers)
        if start:
            named = start + fault.shift_range
            headers["Content-Range"] = f"bytes {named}-{len(content) - 1}/{len(content)}"
        if not fault.no_etag:
            headers["ETag"] = etag
        if not fault.no_length:
            headers["Content-Length"] = str(len(content) - start)
        self.send_response(request.status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self._send_body(request, fault, content[start:])

    def _range_start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match else 0

    def _send_body(self, request: Request, fault: Fault, body: bytes) -> None:
        if fault.spoil:
            body = bytes([body[0] ^ 0xFF]) + body[1:]
        body = memoryview(body if fault.cut_after is None else body[: fault.cut_after])
        step = _BLOCK if fault.bytes_per_s is None else max(1, int(fault.bytes_per_s / 50))
        for at in range(0, len(body), step):
            block = body[at : at + step]
            if fault.bytes_per_s is not None and self.zenodo._closing.wait(len(block) / fault.bytes_per_s):
                return
            if at + step >= len(body):
                self.zenodo._end(request)  # before the client has it all, and may ask for the next
            self.wfile.write(block)
            request.sent += len(block)
