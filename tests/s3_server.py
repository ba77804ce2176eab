"""An S3-compatible store on this machine, and a line to it that can be cut."""

import contextlib
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

LOOPBACK = "127.0.0.1"


class Store:
    """A store of any number of buckets, with no check of keys unless told so.

    Attributes:
        url: its endpoint.
    """

    def __init__(self, url: str):
        self.url = url

    def bucket(self) -> str:
        """A new bucket's name."""
        name = f"bucket-{uuid.uuid4().hex[:8]}"
        urlopen(Request(f"{self.url}/{name}", method="PUT")).close()
        return name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Has it ask for keys while the block runs, and know none."""
        self._free_actions("0")
        try:
            yield
        finally:
            self._free_actions("inf")

    def _free_actions(self, number: str) -> None:
        headers = {"Content-Type": "text/plain"}
        urlopen(Request(f"{self.url}/moto-api/reset-auth", number.encode(), headers, method="POST")).close()


@contextmanager
def running() -> Iterator[Store]:
    """Runs a store while the block runs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Store(f"http://{host}:{port}")
    finally:
        server.stop()


class Line:
    """Passes bytes on to a server until so many have gone there; then every connection breaks off.

    Attributes:
        url: to connect to instead of the server's.
        sent: bytes that went to the server.
    """

    def __init__(self, url: str, cut_after: float = float("inf")):
        host, port = url.removeprefix("http://").split(":")
        self._server = (host, int(port))
        self._listener = socket.create_server((LOOPBACK, 0))
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self.cut_after = cut_after
        self.sent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.cut_after = -1
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.sent > self.cut_after:
                client.close()
                continue
            server = socket.create_connection(self._server)
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while self.sent <= self.cut_after and (data := source.recv(1 << 16)):
                self.sent += len(data) if counted else 0
                if self.sent <= self.cut_after:
                    target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def environment(url: str) -> dict[str, str]:
    """What a program needs to find a store: its endpoint, and keys that are as good as any others."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "planted-key-id",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_SESSION_TOKEN": "planted-token",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
