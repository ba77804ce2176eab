"""Serves the synthetic sample on loopback under the paths that Zenodo has, so that a demo takes the real road."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emotion_ray.data.ravdess import RECORD
from emotion_ray.data.takes import SAMPLE_INDEX


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """Serves a folder that `build_sample` made while the block runs, and gives the address to use as base URL."""

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            requested = urlsplit(path).path
            if requested == f"/api/records/{RECORD}":
                return str(folder / SAMPLE_INDEX)
            if not requested.startswith(f"/records/{RECORD}/files/"):
                return ""
            asked = folder / Path(requested).name
            return str(asked) if asked.is_file() else ""  # a folder would be listed

        def log_message(self, *_: object) -> None:
            """Says nothing: the job shows its own progress."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *request: Any) -> None:
            """Says nothing of a client that went away: a job that was stopped does."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(*request)

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
