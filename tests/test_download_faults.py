"""Downloads from a server that misbehaves: what is tried again, how patiently, and what is given up."""

import itertools
import json
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from urllib.request import urlopen

import pytest
from fake_zenodo import Fault
from one_archive import CONTENT, MD5, NAME, QUICK

from emotion_ray.data.archives import Archive
from emotion_ray.data.download import DownloadSettings, download
from emotion_ray.errors import Reject


def reject_of(archive: Archive, cache: Path, settings: DownloadSettings = QUICK) -> Reject:
    with pytest.raises(Reject) as caught:
        download(archive, cache, settings=settings)
    assert caught.value.stage == "fetch"
    assert len(caught.value.message.splitlines()) == 1
    assert not (cache / archive.name).exists(), "a half-file is never taken for a whole one"
    return caught.value


def test_record_lists_what_the_files_are(zenodo):
    with urlopen(f"{zenodo.url}/api/records/1188976") as response:
        (entry,) = json.load(response)["files"]
    assert (entry["key"], entry["size"], entry["checksum"]) == (NAME, len(CONTENT), f"md5:{MD5}")


@pytest.mark.parametrize("fault", [Fault(shift_range=7), Fault(status=416), Fault(status=501)])
def test_a_range_that_is_refused_or_wrong(zenodo, archive, tmp_path, fault):
    zenodo.fail(NAME, Fault(cut_after=100_000), fault)
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in zenodo.requests] == [None, "bytes=100000-", None]


def test_a_server_without_ranges_begins_anew(zenodo, archive, tmp_path):
    zenodo.fail(NAME, Fault(cut_after=100_000), Fault(no_ranges=True))
    progress: list[int] = []
    assert download(archive, tmp_path, settings=QUICK, on_progress=progress.append).read_bytes() == CONTENT
    assert zenodo.requests[1].sent == len(CONTENT)
    assert sum(progress) == len(CONTENT)


def test_a_server_without_ranges_that_always_cuts_is_given_up(zenodo, archive, tmp_path):
    zenodo.fail_always(NAME, Fault(no_ranges=True, cut_after=100_000))
    reject = reject_of(archive, tmp_path)
    assert reject.reason == "cut_off"
    assert len(zenodo.requests) == QUICK.tries, "beginning anew is no progress"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_statuses_that_pass(zenodo, archive, tmp_path, status):
    zenodo.fail(NAME, Fault(status=status), Fault(status=status))
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "reason"), [(429, "rate_limited"), (500, "server_error")])
def test_statuses_that_do_not_pass(zenodo, archive, tmp_path, status, reason):
    zenodo.fail_always(NAME, Fault(status=status))
    reject = reject_of(archive, tmp_path)
    assert (reject.reason, len(zenodo.requests)) == (reason, QUICK.tries)
    assert f"HTTP {status}" in reject.message
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{NAME}.lock"], "no empty files are left"


@pytest.mark.slow
@pytest.mark.parametrize(("status", "as_date"), [(429, False), (503, False), (429, True)])
def test_retry_after_is_honoured(zenodo, archive, tmp_path, status, as_date):
    until = int(time.time()) + 2
    zenodo.fail(
        NAME,
        Fault(status=status, headers=(("Retry-After", formatdate(until, usegmt=True) if as_date else "1"),)),
    )
    download(archive, tmp_path, settings=QUICK)
    first, second = zenodo.requests
    assert second.at >= (until if as_date else first.at + 1)
    assert second.at < first.at + 3


def test_too_long_a_retry_after_is_not_waited_for(zenodo, archive, tmp_path):
    zenodo.fail(NAME, Fault(status=429, headers=(("Retry-After", "3600"),)))
    reject = reject_of(archive, tmp_path)
    assert reject.reason == "rate_limited"
    assert "3600 s" in reject.message


@pytest.mark.slow
def test_waits_grow(zenodo, archive, tmp_path):
    zenodo.fail(NAME, *[Fault(status=500)] * 3)
    download(archive, tmp_path, settings=replace(QUICK, backoff_s=0.1))
    times = [request.at for request in zenodo.requests]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(wait > least for wait, least in zip(waits, (0.05, 0.1, 0.2), strict=True))


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "not_found"), (410, "not_found"), (403, "forbidden"), (400, "http_error")]
)
def test_final_statuses(zenodo, archive, tmp_path, status, reason):
    zenodo.fail_always(NAME, Fault(status=status))
    reject = reject_of(archive, tmp_path)
    assert (reject.reason, len(zenodo.requests)) == (reason, 1)
    assert f"{zenodo.url}/records/1188976/files/{NAME} " in reject.message


def test_wrong_bytes_once(zenodo, archive, tmp_path):
    zenodo.fail(NAME, Fault(spoil=True))
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert [request.sent for request in zenodo.requests] == [len(CONTENT)] * 2


def test_wrong_bytes_twice(zenodo, archive, tmp_path):
    zenodo.fail_always(NAME, Fault(spoil=True))
    reject = reject_of(archive, tmp_path)
    assert (reject.reason, len(zenodo.requests)) == ("md5_mismatch", 2)
    assert MD5 in reject.message
    assert not (tmp_path / f"{NAME}.part").exists()


def test_wrong_length(zenodo, archive, tmp_path):
    zenodo.fail_always(NAME, Fault(trim=5))
    reject = reject_of(archive, tmp_path)
    assert (reject.reason, len(zenodo.requests)) == ("wrong_length", 2)
    assert "299,995 bytes instead of 300,000" in reject.message


def test_a_server_that_does_not_say_how_much(zenodo, archive, tmp_path):
    zenodo.fail_always(NAME, Fault(no_length=True))
    assert reject_of(replace(archive, bytes=None), tmp_path).reason == "unknown_length"
    assert download(archive, tmp_path, settings=QUICK).read_bytes() == CONTENT
    longer = replace(archive, name="other.zip", bytes=len(CONTENT) - 1)
    assert reject_of(longer, tmp_path).reason == "wrong_length"


@pytest.mark.slow
def test_a_server_that_hangs(zenodo, archive, tmp_path):
    settings = replace(QUICK, timeout_s=0.4, tries=2)
    zenodo.fail(NAME, Fault(hang=True))
    started = time.monotonic()
    assert download(archive, tmp_path, settings=settings).read_bytes() == CONTENT
    assert 0.4 <= time.monotonic() - started < 5
    zenodo.fail_always(NAME, Fault(hang=True))
    assert reject_of(replace(archive, name="b.zip"), tmp_path, settings).reason == "timeout"


def test_a_transfer_that_drips(zenodo, archive, tmp_path):
    zenodo.fail(NAME, Fault(bytes_per_s=20_000))
    download(archive, tmp_path, settings=replace(QUICK, timeout_s=0.4, slowest_bytes_per_s=100_000))
    first, second = zenodo.requests
    assert 0 < first.sent < 20_000
    assert second.headers["Range"].startswith("bytes=")
    assert second.sent < len(CONTENT)


def test_no_progress_for_too_long(zenodo, archive, tmp_path):
    zenodo.fail_always(NAME, Fault(status=500))
    patient = replace(QUICK, tries=1000, backoff_s=0.1, give_up_after_s=0.5)
    started = time.monotonic()
    assert reject_of(archive, tmp_path, patient).reason == "server_error"
    assert time.monotonic() - started < 3


def test_progress_renews_patience(zenodo, archive, tmp_path):
    zenodo.fail(NAME, *[Fault(cut_after=20_000)] * 12)
    assert download(archive, tmp_path, settings=replace(QUICK, tries=2)).read_bytes() == CONTENT


def test_no_server(archive, tmp_path):
    gone = replace(archive, url="http://127.0.0.1:9/a.zip?secret=1")
    reject = reject_of(gone, tmp_path, replace(QUICK, tries=2))
    assert reject.reason == "connection_lost"
    assert "http://127.0.0.1:9/a.zip:" in reject.message
    assert "secret" not in reject.message


def test_user_and_password_are_sent_and_not_shown(zenodo, archive, tmp_path):
    url = archive.url.replace("http://", "http://someone:s%40crt@")
    zenodo.fail(NAME, Fault(status=404))
    reject = reject_of(replace(archive, url=url), tmp_path)
    assert "crt" not in reject.message
    assert zenodo.requests[0].headers["Authorization"] == "Basic c29tZW9uZTpzQGNydA=="


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip", "data:,x", "http://[", None])
def test_redirects_to_http_only(zenodo, archive, tmp_path, target):
    zenodo.files["moved.zip"] = CONTENT
    moved = replace(archive, url=zenodo.file_url("moved.zip").replace("http://", "http://someone:secret@"))
    zenodo.fail("moved.zip", Fault(status=302, headers=(("Location", target or archive.url),)))
    if target:
        assert reject_of(moved, tmp_path).reason == "bad_redirect"
    else:
        assert download(moved, tmp_path, settings=QUICK).read_bytes() == CONTENT
        assert "Authorization" not in zenodo.requests[1].headers


def test_what_comes_with_a_redirect_is_not_read(zenodo, archive, tmp_path):
    zenodo.files["moved.zip"] = CONTENT
    moved = replace(archive, url=zenodo.file_url("moved.zip"))
    endless = (("Location", archive.url), ("Content-Length", "1000000000000"))
    zenodo.fail("moved.zip", Fault(status=302, headers=endless))
    assert download(moved, tmp_path, settings=QUICK).read_bytes() == CONTENT
    assert [request.name for request in zenodo.requests] == ["moved.zip", NAME]  # it was followed at the first try


def test_redirects_in_a_circle(zenodo, archive, tmp_path):
    zenodo.fail_always(NAME, Fault(status=301, headers=(("Location", archive.url),)))
    assert reject_of(archive, tmp_path).reason == "bad_redirect"
