"""Files that are no videos, or that want something: each is refused with a reason, and nothing else is opened."""

import io
import math
import socket
import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from counted_video import HEIGHT, WIDTH, counted_video, number_of, numbered
from opened_files import watched
from portrait_video import sound_only

from emotion_ray.errors import Reject
from emotion_ray.vision.video import Video, sample_times


def decoded(content: bytes, name: str = "a take.mp4") -> list[np.ndarray]:
    """What a clip would be made of, from a file that may be anything."""
    times = sample_times(content, name, 60, "uniform")
    with Video(content, name) as video:
        frames = list(video.nearest(times))
    assert len(frames) <= 60
    assert all(math.isfinite(frame.time) and frame.time >= 0 for frame in frames)
    return [frame.rgb for frame in frames]


def reason(content: bytes) -> str:
    with pytest.raises(Reject) as caught:
        decoded(content)
    reject = caught.value
    assert reject.stage == "decode"
    assert reject.message.startswith("a take.mp4 ")
    assert "\n" not in reject.message
    return reject.reason


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty_file"),
        (b"\0", "not_a_video"),
        (bytes(100_000), "not_a_video"),
        (b"This is no video.\n" * 1000, "not_a_video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), "not_a_video"),
        (b"PK\x03\x04" + bytes(1000), "not_a_video"),
        (np.random.default_rng(0).bytes(100_000), "not_a_video"),
    ],
    ids=["empty", "a zero", "zeros", "text", "png", "zip", "noise"],
)
def test_what_is_no_video_is_refused(content, expected):
    assert reason(content) == expected


def test_sound_alone_is_refused():
    assert reason(sound_only()) == "no_picture"


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{path}'\n",
    "ffconcat, relative": "ffconcat version 1.0\nfile {name}\n",
    "HLS": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{uri}\n#EXT-X-ENDLIST\n",
    "HLS, with a map": '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="{path}"\n#EXTINF:2,\n{path}\n',
    "HLS, http": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
    "DASH": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet contentType="video"><Representation id="1" bandwidth="1000">'
        "<BaseURL>{uri}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ),
    "SDP": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    ),
    "a Windows shortcut to a stream": "[Reference]\nRef1=http://127.0.0.1:{port}/a.asf\n",
    "a picture sequence": "{path}",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_opens_nothing(kind, tmp_path, monkeypatch):
    canary = tmp_path / "canary.mp4"
    canary.write_bytes(counted_video("mp4", 60))
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server, watched(canary) as opened:
        server.setblocking(False)
        port = server.getsockname()[1]
        text = PLAYLISTS[kind].format(path=canary, name=canary.name, uri=canary.as_uri(), port=port)
        assert reason(text.encode()) == "not_a_video"
        with pytest.raises(BlockingIOError):
            server.accept()
    assert opened == [False]


def test_the_watch_would_see_a_playlist_that_is_followed(tmp_path, monkeypatch):
    """Bytes alone make FFmpeg open a file of the folder, were there no list of formats."""
    canary = tmp_path / "canary.mp4"
    canary.write_bytes(counted_video("mp4", 60))
    monkeypatch.chdir(tmp_path)
    with watched(canary) as opened:
        text = PLAYLISTS["ffconcat, relative"].format(name=canary.name)
        with av.open(io.BytesIO(text.encode())) as container:
            assert next(container.decode(video=0)).width == WIDTH
    assert opened == [True]


def test_a_movie_that_refers_to_another_file_does_not_open_it(tmp_path, monkeypatch):
    """A data reference of type `alis` or `url ` names the file that holds the pictures (ISO 14496-12, 8.7.2)."""
    canary = tmp_path / "canary.mp4"
    content = counted_video("mov", 10)
    canary.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    start = content.index(b"dref")
    entry = start + 12
    assert content[entry + 4 : entry + 8] == b"url "
    outside = bytearray(content)
    outside[entry + 11] = 0  # not "in this very file"
    with watched(canary) as opened:
        decoded(bytes(outside))
    assert opened == [False]


def still(codec: str, width: int, height: int) -> list[av.Packet]:
    """One picture, encoded."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
    context.time_base = Fraction(1, 30)
    frame = av.VideoFrame(width, height, "yuvj420p")
    frame.pts = 0
    return [*context.encode(frame), *context.encode(None)]


def of_stills(*sizes: tuple[int, int], times: list[int] | None = None) -> bytes:
    """A Matroska file whose header has the first size, of one JPEG for each size, at `times` in ms."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as target:
        stream = target.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuvj420p"
        for index, size in enumerate(sizes):
            for packet in still("mjpeg", *size):
                packet.stream = stream
                packet.time_base = Fraction(1, 1000)
                packet.pts = packet.dts = times[index] if times else index * 33
                target.mux(packet)
    return file.getvalue()


def test_stills_that_follow_each_other_are_a_video():
    assert len(decoded(of_stills(*[(64, 48)] * 5))) == 5


def test_pictures_larger_than_the_header_says_take_no_memory_while_the_file_is_opened(tmp_path):
    """FFmpeg decodes pictures as it opens a file; this one's are of 5000x5000 px, 75 MB each."""
    picture = cv2.imencode(".png", np.zeros((5000, 5000, 3), np.uint8))[1].tobytes()
    with av.open(str(tmp_path / "large.avi"), "w", format="avi") as target:
        stream = target.add_stream("png", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        for index in range(5):
            packet = av.Packet(picture)
            packet.stream, packet.pts, packet.dts = stream, index, index
            target.mux(packet)
    script = (
        "import resource, sys\nfrom emotion_ray.errors import Reject\nfrom emotion_ray.vision.video import Video\n"
        "content = open(sys.argv[1], 'rb').read()\npeak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\ntry:\n    list(Video(content, 'x').frames())\nexcept Reject as reject:\n"
        "    print(reject.reason, (peak() - before) // 1024)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "large.avi")]
    reason, grown_mb = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert reason in ("too_many_pixels", "no_frames")
    assert int(grown_mb) < 30


def test_more_than_4k_is_refused_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(Video, "_pictures", lambda self: pytest.fail("decoded"))
    with pytest.raises(Reject, match="larger frames than the limit of 9,437,184 px") as caught:
        Video(of_stills((7680, 4320)), "x")
    assert caught.value.reason == "too_many_pixels"


def test_4k_is_taken():
    [picture] = decoded(of_stills((3840, 2160)))
    assert picture.shape == (2160, 3840, 3)


def test_a_frame_larger_than_its_header_says_takes_no_memory():
    """The decoder itself must refuse it: who looks at a decoded frame's size is too late."""
    content = of_stills((64, 48), (64, 48), (7680, 4320), (64, 48))
    with Video(content, "x") as video:
        assert len(list(video.frames())) == 2
        assert video.cut_short


def test_a_size_that_changes_on_the_way_is_refused():
    with pytest.raises(Reject, match="changes its size after 2 frames") as caught:
        decoded(of_stills((64, 48), (64, 48), (48, 64)))
    assert caught.value.reason == "size_changes"


@pytest.mark.parametrize(
    "times",
    [
        [0, 1, 2**40, 2**40 + 1],
        [2**40, 2**40 + 33, 2**40 + 66],
        [0, 10**9, 2 * 10**9],
    ],
    ids=["a leap", "a late start", "years between"],
)
def test_times_far_out_neither_hang_nor_crash(times):
    assert 1 <= len(decoded(of_stills(*[(64, 48)] * len(times), times=times))) <= 60


@pytest.mark.parametrize("delta", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_frame_lengths_that_lie_neither_hang_nor_crash(delta):
    """mp4 gives each frame's length as a 32-bit number (`stts`; ISO 14496-12, 8.6.1.2)."""
    content = counted_video("mp4", 60)
    start = content.index(b"stts") + 16
    lying = content[:start] + delta.to_bytes(4, "big") + content[start + 4 :]
    assert 1 <= len(decoded(lying)) <= 60


def test_times_never_run_back(monkeypatch):
    of_video = Video._pictures

    def shuffled(self):
        pictures = list(of_video(self))
        yield from pictures[5:] + pictures[:5]

    monkeypatch.setattr(Video, "_pictures", shuffled)
    with Video(counted_video("mp4", 20), "x") as video:
        times = video.times()
    assert times == sorted(times)
    assert times[0] == 0


@pytest.mark.parametrize("container", ["avi", "mkv", "webm", "flv"])
def test_a_file_that_ends_early_gives_what_it_holds(container):
    whole = counted_video(container, 60)
    pictures = decoded(whole[: len(whole) * 4 // 5])
    assert 5 <= len(pictures) < 60
    assert [number_of(picture) for picture in pictures[:5]] == list(range(5))


def test_an_mp4_in_fragments_that_ends_early_gives_what_it_holds():
    whole = counted_video("mp4", 60, options=(("movflags", "empty_moov+frag_every_frame"),))
    with Video(whole[: len(whole) * 2 // 3], "x") as video:
        pictures = [frame.rgb for frame in video.frames()]
    assert 5 <= len(pictures) < 60
    assert [number_of(picture) for picture in pictures[:5]] == list(range(5))


def test_a_real_take_that_ends_early_gives_what_it_holds_and_says_so(real_clips):
    whole = real_clips["01/sample_01.mp4"].read_bytes()
    with Video(whole[: len(whole) // 5], "x") as video:
        pictures = [frame.rgb for frame in video.frames()]
        assert video.cut_short
    with Video(whole, "x") as video:
        undisturbed = [frame.rgb for frame, _ in zip(video.frames(), pictures, strict=False)]
    assert 10 <= len(pictures) < 60
    assert all(np.array_equal(one, other) for one, other in zip(pictures[:10], undisturbed, strict=False))


def test_an_mp4_cut_before_its_index_is_refused():
    whole = counted_video("mp4", 60)
    assert whole.index(b"moov") > whole.index(b"mdat")
    assert reason(whole[: len(whole) // 2]) == "not_a_video"


def test_a_header_without_frames_is_refused():
    whole = counted_video("avi", 10)
    assert reason(whole[: whole.index(b"movi") + 4]) == "no_frames"


def test_a_title_in_another_encoding_is_no_reason_to_refuse():
    content = counted_video("mp4", 10, title="Fröhlich, stark".encode("latin-1"))
    assert "Fröhlich".encode("latin-1") in content
    assert len(decoded(content)) == 10


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "flv"])
def test_damaged_bytes_give_frames_or_a_reason(container):
    rng = np.random.default_rng(0)
    whole = counted_video(container, 15)
    refused = 0
    for _ in range(40):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, len(damaged), rng.integers(1, 30))
        damaged[places] = rng.integers(0, 256, len(places))
        try:
            pictures = decoded(damaged.tobytes())
            assert all(picture.ndim == 3 for picture in pictures)
        except Reject as reject:
            assert reject.stage == "decode"
            refused += 1
    assert refused < 40


def test_a_name_in_any_script_is_told_as_it_is():
    with pytest.raises(Reject, match=r"Ünïcode/видео\.mp4 is empty"):
        Video(b"", "Ünïcode/видео.mp4")


def test_numbers_survive_the_codec():
    """What the tests above stand on."""
    assert [number_of(numbered(n)) for n in range(256)] == list(range(256))
    assert numbered(3).shape == (HEIGHT, WIDTH, 3)
