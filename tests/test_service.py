import asyncio
import io
import json
import os
import re
import sys

import av
import cv2
import numpy as np
import pytest
from counted_video import counted_video
from portrait_video import portrait_video, sound_only
from served import FRAMES, client, problem, store_model, upload
from skimage.data import astronaut
from starlette.datastructures import Headers
from test_video_hostile import of_stills

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.inference.analysis import Analysis, analyse
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.models.store import load_stored
from emotion_ray.service.problems import MEDIA_TYPE, Problem
from emotion_ray.service.uploads import read_upload
from emotion_ray.settings import ServeLimits


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    store_model(folder, "tiny", "lstm", uar=0.5)
    store_model(folder, "looking", "attention", uar=0.4)
    return folder


@pytest.fixture(scope="module")
def service(root):
    with client(root, max_body_mb=2.0, max_video_s=20.0, max_frames=400) as connected:
        yield connected


@pytest.mark.parametrize("name", ["tiny", "looking"])
def test_an_upload_gets_what_the_engine_says_of_it(service, root, mtcnn, name):
    content = portrait_video(frames=25)
    answer = upload(service, content, model=name, stride="5").json()
    stream = EmotionStream(mtcnn, load_stored(root / "models", name), 5)
    analysis = Analysis("take.mp4", EMOTIONS)
    seen = [observation for _, observation in analyse(content, "take.mp4", stream, analysis)]
    [face] = answer["faces"]
    ours = analysis.faces[1].timeline
    assert len(ours) == len(face["timeline"]) == 1 + (25 - FRAMES) // 5
    for told, prediction in zip(face["timeline"], ours, strict=True):
        assert list(told["probabilities"]) == list(EMOTIONS)
        np.testing.assert_allclose(list(told["probabilities"].values()), prediction.probabilities, atol=1e-6)
        assert told["label"] == prediction.label and told["time"] == pytest.approx(prediction.time, abs=1e-3)
        assert len(told.get("attention", [])) == (FRAMES if name == "looking" else 0)
    assert [box[0] for box in face["boxes"]] == pytest.approx([one.time for one in seen], abs=1e-3)
    assert face["boxes"][-1][1:] == pytest.approx(seen[-1].faces[0].box.tolist(), abs=0.06)
    assert answer["label"] == face["label"] == EMOTIONS[int(np.argmax(list(face["probabilities"].values())))]
    assert (answer["frames"], answer["warnings"], answer["model"]["name"]) == (25, [], name)
    assert answer["model"]["architecture"] == ("lstm" if name == "tiny" else "attention")
    assert set(answer["timings"]) == {"load_s", "work_s", "upload_s", "wait_s", "total_s"}
    assert answer["timings"]["total_s"] >= answer["timings"]["work_s"] > 0


def test_the_best_model_serves_where_none_is_named(service):
    assert upload(service, portrait_video(frames=3)).json()["model"]["name"] == "tiny"
    told = service.get("/v1/models").json()
    assert told["default"] == "tiny"
    assert [(one["name"], one["uar"]) for one in told["models"]] == [("looking", 0.4), ("tiny", 0.5)]


def test_a_new_model_is_there_without_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr("emotion_ray.service.models.LISTED_FOR_S", 0.0)
    with client(tmp_path) as connected:
        detail = problem(upload(connected, portrait_video(frames=3)), 503, "unavailable")
        assert "`emotion-ray train` makes one" in detail
        assert connected.get("/readyz").status_code == 503
        assert connected.get("/healthz").json() == {"status": "ok"}
        store_model(tmp_path, "first")
        assert upload(connected, portrait_video(frames=3)).json()["model"]["name"] == "first"
        assert connected.get("/readyz").json() == {"status": "ok", "model": "first"}
        store_model(tmp_path, "better", uar=0.9)
        assert upload(connected, portrait_video(frames=3)).json()["model"]["name"] == "better"


def test_only_the_last_used_models_stay_in_memory(tmp_path):
    for name in ("a", "b", "c"):
        store_model(tmp_path, name)
    with client(tmp_path, models_in_memory=2) as connected:
        models = connected.service.models
        first = models.get("a")
        assert models.get("b") and models.get("a") is first
        models.get("c")
        assert models.get("a") is first
        assert len(models._loaded) == 2


def eight_k() -> bytes:
    """A file that says it is 7680x4320 and ends with its header."""
    whole = of_stills((7680, 4320))
    return whole[: whole.index(b"\xff\xd8")]


def bomb() -> bytes:
    """Thousands of frames in a few kilobytes."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=1000, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        black = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for index in range(3000):
            black.pts = index
            target.mux(stream.encode(black))
        target.mux(stream.encode())
    return file.getvalue()


def two_hours() -> bytes:
    return counted_video("mp4", 4, milliseconds=(0, 2_400_000, 4_800_000, 7_200_000))


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 422, "empty_file"),
        (b"This is no video.\n" * 1000, 415, "not_a_video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", 415, "not_a_video"),
        (PLAYLIST, 415, "not_a_video"),
        (sound_only(), 422, "no_picture"),
        (eight_k(), 413, "too_many_pixels"),
        (bomb(), 413, "too_long"),
        (two_hours(), 413, "too_long"),
        (bytes(2_100_000), 413, "too_large"),
        (portrait_video(frames=3)[:500], 415, "not_a_video"),
    ],
    ids=["empty", "text", "ffconcat", "playlist", "sound", "8K", "bomb", "2h", "large", "cut in the header"],
)
def test_what_can_not_be_used_is_refused_and_the_service_lives_on(service, content, status, reason):
    problem(upload(service, content), status, reason)
    assert len(upload(service, portrait_video(frames=3)).json()["faces"]) == 1


def test_a_video_that_ends_early_gives_a_prediction_and_a_warning(service):
    whole = portrait_video(frames=30)
    answer = upload(service, whole[: len(whole) * 4 // 5], stride="1")
    assert answer.status_code == 200
    told = answer.json()
    assert FRAMES <= told["frames"] < 30 and told["faces"][0]["timeline"]
    assert told["label"] in EMOTIONS


def test_no_face_is_told_and_no_error(service):
    told = upload(service, portrait_video(frames=15, face=False)).json()
    assert (told["faces"], told["label"]) == ([], None)
    [warning] = told["warnings"]
    assert warning.startswith("no face was found")


def ten_faces() -> bytes:
    """Two rows of five portraits."""
    tile = cv2.resize(astronaut()[0:300, 50:450], (256, 192), interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 5 * 256, 2 * 192, "yuv420p"
        for _ in range(3):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(np.tile(tile, (2, 5, 1)), format="rgb24")))
        target.mux(stream.encode())
    return file.getvalue()


@pytest.mark.slow
def test_ten_faces_are_as_many_as_are_followed(root):
    for most in (10, 4):
        with client(root, max_faces=most) as connected:
            faces = upload(connected, ten_faces()).json()["faces"]
        assert [face["track"] for face in faces] == list(range(1, most + 1))
        assert len({tuple(np.round(face["boxes"][0][1:], -1)) for face in faces}) == most


def test_one_frame_is_a_video(service):
    told = upload(service, portrait_video(frames=1)).json()
    assert told["frames"] == 1 and len(told["faces"]) == 1


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"model": "nobody"}, 404, "unknown_model"),
        ({"model": "../tiny"}, 404, "unknown_model"),
        ({"model": "/etc/passwd"}, 404, "unknown_model"),
        ({"model": ""}, 404, "unknown_model"),
        ({"model": "x" * 5000}, 400, "broken_form"),
        ({"stride": "0"}, 422, "bad_stride"),
        ({"stride": "many"}, 422, "bad_stride"),
        ({"annotate": "perhaps"}, 422, "bad_annotate"),
        ({"colour": "red"}, 422, "unknown_field"),
    ],
)
def test_fields_that_make_no_sense_are_refused(service, fields, status, reason):
    detail = problem(upload(service, portrait_video(frames=3), **fields), status, reason)
    assert len(detail) < 300


def test_forms_that_are_none_are_refused(service):
    problem(service.post("/v1/predict"), 415, "no_form")
    problem(service.post("/v1/predict", json={"video": "x"}), 415, "no_form")
    problem(service.post("/v1/predict", data={"model": "tiny"}, files={"other": b"x"}), 422, "unknown_field")
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    problem(service.post("/v1/predict", content=b"no form at all", headers=multipart), 400, "broken_form")
    bare = {"content-type": "multipart/form-data"}
    problem(service.post("/v1/predict", content=b"", headers=bare), 400, "broken_form")
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--x--\r\n'
    problem(service.post("/v1/predict", content=form, headers=multipart), 422, "no_file")
    twice = [("video", ("a.mp4", b"1")), ("video", ("b.mp4", b"2"))]
    problem(service.post("/v1/predict", files=twice), 400, "broken_form")


def test_a_body_is_counted_while_it_comes_in():
    """Whatever it announces: this one announces nothing and never ends."""
    sent = []

    class Endless:
        headers = Headers({"content-type": "multipart/form-data; boundary=x"})

        async def stream(self):
            yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="v.mp4"\r\n\r\n'
            while True:
                sent.append(100_000)
                yield bytes(100_000)

    with pytest.raises(Problem) as caught:
        asyncio.run(read_upload(Endless(), ServeLimits(max_body_mb=2.0)))
    assert (caught.value.status, caught.value.reason) == (413, "too_large")
    assert 2_000_000 < sum(sent) < 2_300_000


def test_nothing_that_is_uploaded_touches_a_disk(service):
    opened: list[str] | None = []

    def watch(event: str, arguments: tuple) -> None:  # an audit hook stays for good: None ends what it does
        if event == "open" and opened is not None and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    video = portrait_video(frames=40)
    assert upload(service, video).status_code == 200
    assert upload(service, video, annotate="true").status_code == 200
    problem(upload(service, bytes(1_900_000)), 415, "not_a_video")
    written, opened = opened, None
    assert not [name for name in written if not name.startswith("/dev/")]


def test_other_addresses_are_problems_too(service):
    problem(service.get("/nowhere"), 404, "not_found")
    problem(service.get("/v1/predict"), 405, "method_not_allowed")
    problem(service.get("/page/../app.py"), 404, "not_found")
    problem(service.get("/page/%2e%2e/app.py"), 404, "not_found")


def test_an_error_of_ours_is_a_problem_without_a_traceback(service, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("emotion_ray.service.app.predict", broken)
    answer = upload(service, b"x")
    assert "secret" not in problem(answer, 500, "internal_error")
    assert "ZeroDivisionError: secret" in caplog.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_answers_are_not_kept_and_run_nothing_of_others(service):
    for path in ("/", "/v1/models", "/nowhere", "/page/app.js"):
        headers = service.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    assert service.get("/v1/models").headers["cache-control"] == "no-store"


def test_openapi_has_examples_that_are_like_the_answers(service):
    document = service.get("/openapi.json").json()
    post = document["paths"]["/v1/predict"]["post"]
    assert set(post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]) == {
        "video",
        "model",
        "stride",
        "annotate",
    }
    example = post["responses"]["200"]["content"]["application/json"]["example"]
    real = upload(service, portrait_video(frames=15)).json()
    assert list(example) == list(real)
    assert list(example["faces"][0]) == list(real["faces"][0])
    assert list(example["model"]) == list(real["model"])
    assert list(example["timings"]) == list(real["timings"])
    models = document["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    assert list(models["models"][0]) == list(service.get("/v1/models").json()["models"][0])
    for status in ("401", "404", "413", "415", "422", "429"):
        assert MEDIA_TYPE in post["responses"][status]["content"]


def test_the_page_loads_nothing_from_elsewhere(service):
    html = service.get("/").text
    files = re.findall(r'(?:src|href)="([^"#]+)"', html)
    assert len(files) >= 4
    while files:
        name = files.pop()
        assert name.startswith("page/"), name
        answer = service.get(f"/{name}")
        assert answer.status_code == 200, name
        assert not re.search(r"https?://(?!www\.w3\.org/)", answer.text), name
        if name.endswith(".js"):
            assert "innerHTML" not in answer.text and "insertAdjacentHTML" not in answer.text
            files += [f"page/{other}" for other in re.findall(r'from "\./([^"]+)"', answer.text)]


def damaged(number: int) -> bytes:
    """A video with a few bytes changed, cut or put twice, or no video at all."""
    draw = np.random.default_rng(number)
    content = bytearray(portrait_video(frames=5) if number % 4 else draw.bytes(int(draw.integers(0, 5000))))
    for _ in range(int(draw.integers(1, 30)) if content else 0):
        content[int(draw.integers(len(content)))] = int(draw.integers(256))
    if number % 5 == 0:
        content = content[: int(draw.integers(len(content) + 1))]
    return bytes(content)


@pytest.mark.slow
def test_damaged_uploads_never_break_the_service(service):
    for number in range(100):
        annotate = number % 3 == 0
        answer = upload(service, damaged(number), annotate=str(annotate).lower())
        assert answer.status_code in (200, 413, 415, 422), (number, answer.text)
        if not annotate or answer.status_code != 200:
            json.loads(answer.text)


def test_an_annotated_video_has_the_frames_of_the_upload_and_is_drawn_on(service, monkeypatch):
    content = portrait_video(frames=20)
    answer = upload(service, content, annotate="true", stride="5")
    assert answer.status_code == 200 and answer.headers["content-type"] == "video/mp4"

    def pictures(video: bytes) -> list[np.ndarray]:
        with av.open(io.BytesIO(video)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]

    before, after = pictures(content), pictures(answer.content)
    assert len(before) == len(after) and before[0].shape == after[0].shape
    changed = [np.abs(one - other).max(axis=2) > 60 for one, other in zip(before, after, strict=True)]
    assert all(0.005 < part.mean() < 0.6 for part in changed)
    problem(upload(service, b"no video", annotate="true"), 415, "not_a_video")
