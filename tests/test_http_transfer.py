"""URLs that may be shown, URLs that may be fetched, and the waits that servers ask for."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_ray.data.http_transfer import checked_url, retry_after_s, shown
from emotion_ray.errors import EmotionRayError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 04:05:05 +0100", 60),
        ("Friday, 02-Jan-26 03:04:35 GMT", 30),
        ("Fri, 02 Jan 2026 03:04:00 GMT", 0),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_retry_after_in_both_forms(header, seconds):
    assert retry_after_s(header, NOW) == seconds


@given(st.text())
def test_any_retry_after_gives_a_wait(header):
    assert retry_after_s(header, NOW) >= 0


def test_shown_url_keeps_secrets():
    url = "https://someone:secret@example.org:8443/records/1/files/a.zip?token=secret&download=1#secret"
    assert shown(url) == "https://example.org:8443/records/1/files/a.zip"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a.zip",
        "data:text/plain,secret",
        "a.zip",
        "",
        "http:///a.zip",
        "http://[::1/a.zip",
        "http://example.org:99999/a.zip",
        "http://example.org/a b.zip",
        "http://example.org/a.zip\r\nHost: other",
        "http://example.org/ä.zip",
        "file://elsewhere/a.zip",
    ],
)
def test_urls_that_are_not_fetched(url):
    with pytest.raises(EmotionRayError) as caught:
        checked_url(url)
    assert "--base-url" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text() | st.text().map("http://".__add__))
def test_any_text_is_a_url_or_a_clear_error(text):
    try:
        assert checked_url(text).scheme in ("http", "https", "file")
    except EmotionRayError as error:
        assert len(str(error).splitlines()) == 1
