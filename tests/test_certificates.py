"""A server that can't prove who it is gets nothing and gives nothing."""

import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from emotion_ray.data.http_transfer import open_from
from emotion_ray.errors import Reject


def write_certificate(folder: Path, days: int) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key; it ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    path = folder / "server.pem"
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, form, serialization.NoEncryption()))
    return path


@contextmanager
def https_server(certificate: Path):
    """Answers every request with four bytes; gives its address and the requests that came through."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *arguments: None  # of handshakes that are broken off
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"https://someone:secret@127.0.0.1:{server.server_port}/a.zip", seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("days", "trusted"), [(1, False), (-1, True)], ids=["unknown", "expired"])
def test_an_invalid_certificate_is_refused(tmp_path, monkeypatch, days, trusted):
    certificate = write_certificate(tmp_path, days)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with https_server(certificate) as (url, seen), pytest.raises(Reject) as caught:
        open_from(url, 0, None, 5.0)
    assert caught.value.reason == "bad_certificate"
    assert "secret" not in caught.value.message
    assert not seen, "the password was not sent"


def test_a_certificate_that_is_vouched_for_will_do(tmp_path, monkeypatch):
    certificate = write_certificate(tmp_path, 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with https_server(certificate) as (url, seen), open_from(url, 0, None, 5.0).response as response:
        assert response.read() == b"here"
    assert seen == ["Basic c29tZW9uZTpzZWNyZXQ="]
