"""The page in a real browser: a clip that is uploaded, and one that plays the camera."""

import contextlib
import io
import json
import re
import shutil
import time

import av
import pytest
from portrait_video import portrait_video
from served import serving, store_model

from emotion_ray.service.live import HEADER

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
CLIP = "01/sample_01.mp4"
IS_DRAWN = """() => {
  const canvas = document.getElementById("overlay");
  return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean);
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The service, with an untrained model of each kind, on a port of its own."""
    root = tmp_path_factory.mktemp("root")
    store_model(root, "looking", "attention", frames=60, uar=0.5)
    store_model(root, "remembering", "lstm", frames=60, uar=0.4)
    with serving(root) as address:
        yield address


@pytest.fixture(scope="module")
def camera_file(real_clips, tmp_path_factory):
    """A real clip as a camera's pictures: Motion JPEG, 640 px wide, the person's face in view throughout."""
    path = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    with av.open(str(real_clips[CLIP])) as source, av.open(str(path), "w", format="mjpeg") as target:
        stream = target.add_stream("mjpeg", rate=30, options={"qmin": "2", "qmax": "3"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuvj420p"
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame.reformat(640, 360, "yuvj420p")))
        target.mux(stream.encode())
    return path


@contextlib.contextmanager
def browser_page(size: str, *arguments: str, scheme: str = "light"):
    """A page of a headless Chromium; whatever it complains of fails the test."""
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, permissions=["camera"])
        page = context.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: note(complaints, message))
        page.on("request", lambda request: complaints.extend(_elsewhere(request.url)))
        yield page
        browser.close()
    assert complaints == []


def _elsewhere(url: str) -> list[str]:
    return [] if url.startswith(("http://127.0.0.1:", "blob:", "data:")) else [f"asked for {url}"]


def note(complaints: list[str], message) -> None:
    """Errors that the page writes; not those that the browser writes of answers that are no 200."""
    if message.type == "error" and not message.text.startswith("Failed to load resource"):
        complaints.append(message.text)


def wait_for_text(page, selector: str, pattern: str) -> None:
    playwright.expect(page.locator(selector)).to_have_text(re.compile(pattern), timeout=60_000)


def fits(page) -> bool:
    """Whether nothing is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_an_uploaded_clip_shows_its_face_and_a_label(address, real_clips, tmp_path, size, scheme):
    with browser_page(size, scheme=scheme) as page:
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        page.screenshot(path=tmp_path / f"empty-{size}.png", full_page=True)
        assert page.input_value("#model") == "looking"
        page.set_input_files("#file", str(real_clips[CLIP]))
        wait_for_text(page, "#status", r"^1 face, \d+ frames")
        page.evaluate("const v = document.getElementById('video'); v.pause(); v.currentTime = 2.5")
        page.wait_for_selector("#faces li .label:not(.waiting)")
        assert page.locator("#faces li").count() == 1
        assert page.locator("#faces .label").inner_text() in page.locator("#legend").inner_text()
        assert page.locator("#chart polyline").count() == 8
        assert page.locator("#attention span").count() == 60
        assert page.locator("#table tbody tr").count() >= 3
        assert re.match(r"Face 1: \w+, \d+ %", page.locator("#announcer").inner_text())
        assert page.evaluate(IS_DRAWN)
        assert fits(page)
        page.wait_for_timeout(400)
        page.screenshot(path=tmp_path / f"upload-{size}.png", full_page=True)
        page.select_option("#model", "remembering")
        page.wait_for_selector("#attention-card", state="hidden")
        wait_for_text(page, "#status", "^1 face")
        assert page.locator("#attention-card").is_hidden()


def test_a_format_that_no_browser_plays_is_told_and_its_faces_are_shown(address, tmp_path):
    with av.open(io.BytesIO(portrait_video(70))) as source, av.open(str(tmp_path / "take.flv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with browser_page("desk") as page:
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        page.set_input_files("#file", str(tmp_path / "take.flv"))
        wait_for_text(page, "#status", r"^1 face, \d+ frames")
        wait_for_text(page, "#problem", "The browser can't play this format")
        assert page.locator("#faces li").count() == 1
        page.screenshot(path=tmp_path / "unplayable.png", full_page=True)


class Talk:
    """What goes over a page's websocket.

    Attributes:
        sent: when each picture left, by its own seconds.
        full: seconds of the picture with which a face had sixty frames.
    """

    def __init__(self):
        self.sent: dict[float, float] = {}
        self.full: float | None = None

    def listen(self, socket) -> None:
        socket.on("framesent", self._sent)
        socket.on("framereceived", self._received)

    def _sent(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            self.sent[HEADER.unpack_from(payload)[0]] = time.monotonic()

    def _received(self, payload: str | bytes) -> None:
        message = json.loads(payload)
        if self.full is None and any(face["buffered"] == 60 for face in message.get("faces", [])):
            self.full = message["time"]


@pytest.mark.parametrize("size", SIZES)
def test_the_camera_shows_predictions_soon_after_sixty_frames(address, camera_file, tmp_path, size):
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browser_page(size, *fake, f"--use-file-for-fake-video-capture={camera_file}") as page:
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        talk = Talk()
        page.on("websocket", talk.listen)
        page.click("#choose-camera")
        page.click("#start")
        page.wait_for_selector("#faces li .label:not(.waiting)", timeout=60_000)
        assert time.monotonic() - talk.sent[talk.full] < 3
        playwright.expect(page.locator("#chart polyline")).to_have_count(8)
        page.wait_for_timeout(2500)
        assert page.locator("#faces li").count() == 1
        assert "Live" in page.locator("#status").inner_text()
        assert fits(page)
        page.screenshot(path=tmp_path / f"camera-{size}.png", full_page=True)
        page.click("#stop")
        page.wait_for_selector("#start")
        assert page.locator("#problem").is_hidden()


def test_problems_are_told_in_words_and_the_page_goes_on(address, real_clips, tmp_path):
    hostile = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    hostile.write_bytes(b"no video")
    with browser_page("desk") as page:
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        with page.expect_response("**/v1/predict") as answer:
            page.set_input_files("#file", str(hostile))
        assert answer.value.status == 415
        page.wait_for_selector("#problem:not([hidden])")
        assert "<img src=x onerror=alert(1)>.mp4 is no video" in page.locator("#problem").inner_text()
        assert page.locator("#problem img").count() == 0
        page.click("#another", trial=True)
        page.set_input_files("#file", str(real_clips[CLIP]))
        wait_for_text(page, "#status", "^1 face")
        assert page.locator("#problem").is_hidden()


def test_the_page_can_be_used_by_keyboard_and_keeps_its_theme(address):
    with browser_page("desk") as page:
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        reached = []
        for _ in range(7):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert reached[:6] == ["skip", "model", "theme", "choose-file", "choose-camera", "pick"]
        page.focus("#theme")
        page.keyboard.press("Enter")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.reload()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
