"""Videos that are written: what other programs read in them."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from counted_video import counted_video, number_of, numbered
from sounding_video import sounding_video

from emotion_ray.errors import EmotionRayError
from emotion_ray.vision.encode import H264Writer, declared_rate
from emotion_ray.vision.sound import Sound
from emotion_ray.vision.video import Video


def rewritten(content: bytes, path: Path) -> Path:
    """The same video once more, through our reader and writer."""
    with Video(content, "source") as video:
        frames = list(video.frames())
        with (
            Sound(content, video.start_s) as sound,
            H264Writer(path, video.fps, video.colorspace, sound, threads=1) as writer,
        ):
            for frame in frames:
                writer.add(frame.rgb, frame.time)
    return path


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25), Fraction(24000, 1001), Fraction(15)])
def test_rate_number_and_times_are_the_source_s(tmp_path, rate):
    path = rewritten(counted_video("mp4", 40, rate), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        [stream] = written.streams
        assert stream.average_rate == rate
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        pictures = list(written.decode(stream))
    assert [number_of(picture.to_ndarray(format="rgb24")) for picture in pictures] == list(range(40))
    assert [picture.time for picture in pictures] == pytest.approx([index / rate for index in range(40)], abs=1e-4)


def test_a_variable_rate_stays_variable(tmp_path):
    milliseconds = (0, 20, 100, 133, 400, 433, 500, 900)
    path = rewritten(counted_video("mkv", 8, milliseconds=milliseconds), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        assert [picture.time for picture in written.decode(video=0)] == pytest.approx(
            [time / 1000 for time in milliseconds], abs=1.1e-3
        )


def test_times_that_files_round_to_milliseconds_become_even_again(tmp_path):
    path = rewritten(counted_video("flv", 40), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        assert written.streams.video[0].average_rate == Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(29.97, Fraction(30000, 1001)), (989 / 33, Fraction(30000, 1001)), (30.0, 30), (23.976, Fraction(24000, 1001))],
)
def test_a_usual_rate_is_recognised(fps, rate):
    assert declared_rate(fps) == rate


def test_an_unusual_rate_is_kept():
    assert declared_rate(17.3) == Fraction(173, 10)


@pytest.mark.parametrize(("height", "width"), [(49, 64), (48, 65), (49, 65), (1, 1)])
def test_odd_sizes_grow_by_one(tmp_path, height, width):
    picture = np.full((height, width, 3), 100, np.uint8)
    with H264Writer(tmp_path / "out.mp4", 25) as writer:
        for index in range(3):
            writer.add(picture, index / 25)
    with av.open(str(tmp_path / "out.mp4")) as written:
        decoded = [one.to_ndarray(format="rgb24") for one in written.decode(video=0)]
    assert decoded[0].shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(decoded[0].astype(int) - 100).max() <= 3


def test_a_browser_can_begin_before_it_has_the_whole_file(tmp_path):
    content = rewritten(counted_video("mp4", 20), tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    ("container", "codec", "becomes"),
    [
        ("mp4", "aac", "aac"),
        ("mkv", "libopus", "opus"),
        ("flv", "libmp3lame", "mp3"),
        ("avi", "pcm_s16le", "aac"),
        ("mkv", "flac", "aac"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_sound_is_kept(tmp_path, container, codec, becomes, channels):
    hz = 44100 if container == "flv" else 48000
    path = rewritten(sounding_video(container, codec, hz=hz, channels=channels), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        [sound] = written.streams.audio
        assert sound.codec_context.codec.canonical_name == becomes
        assert (sound.rate, sound.channels) == (hz, channels)
        heard = np.concatenate([frame.to_ndarray() for frame in written.decode(sound)], axis=1)[0]
    assert heard.shape[0] / hz == pytest.approx(1.0, abs=0.12)
    middle = heard[hz // 4 : hz // 4 * 3].astype(float)
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.fft.rfftfreq(len(middle), 1 / hz)[spectrum.argmax()] == pytest.approx(440, abs=5)


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_the_sound_stays_with_the_pictures(tmp_path, codec):
    """Pictures that begin after the sound begin at 0 here: the sound moves with them."""
    path = rewritten(sounding_video("mkv", codec, frames=50, late_s=0.4), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        pictures = [frame.time for frame in written.decode(video=0)]
    with av.open(str(path)) as written:
        sounds = [frame.time for frame in written.decode(audio=0)]
    assert pictures[-1] - sounds[-1] == pytest.approx(49 / 25 + 0.4 - 2.0, abs=0.12)


def test_a_rate_that_aac_does_not_know_is_changed(tmp_path):
    path = rewritten(sounding_video("avi", "pcm_s16le", hz=11000), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        assert written.streams.audio[0].rate == 48000


def test_mp3_at_a_rate_that_mp4_does_not_know_becomes_aac(tmp_path):
    path = rewritten(sounding_video("flv", "libmp3lame", hz=11025), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        assert written.streams.audio[0].codec_context.codec.canonical_name == "aac"


def test_sound_that_is_no_number_costs_no_picture(tmp_path):
    content = sounding_video("mkv", "pcm_f32le")
    with av.open(io.BytesIO(content)) as source:
        packet = bytes([packet for packet in source.demux(audio=0) if packet.size][10])
    path = rewritten(content.replace(packet, b"\xff" * len(packet)), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        assert len(list(written.decode(video=0))) == 25


def test_sound_ends_where_it_is_told_to(tmp_path):
    content = sounding_video("mkv", "flac", frames=50)
    with (
        Sound(content, 0.0, most_s=0.5) as sound,
        H264Writer(tmp_path / "out.mp4", 25, sound=sound, threads=1) as writer,
    ):
        writer.add(numbered(0), 0.0)
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert [frame.time for frame in written.decode(audio=0)][-1] == pytest.approx(0.5, abs=0.05)


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with H264Writer(Path("talk: part 1.mp4"), 25) as writer:
        writer.add(numbered(0), 0.0)
    assert (tmp_path / "talk: part 1.mp4").stat().st_size > 500


@pytest.mark.parametrize("codec", ["aac", "flac", "libopus"])
@pytest.mark.parametrize("seed", range(4))
def test_damaged_sound_costs_no_picture(tmp_path, codec, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(sounding_video("mkv", codec))
    with av.open(io.BytesIO(content)) as source:
        sounds = [packet for packet in source.demux(audio=0) if packet.size]
        for packet in sounds[5:-5:2]:
            place = content.index(bytes(packet))
            content[place : place + packet.size] = rng.bytes(packet.size)
    path = rewritten(bytes(content), tmp_path / "out.mp4")
    with av.open(str(path)) as written:
        assert len(list(written.decode(video=0))) == 25


@pytest.mark.slow
def test_the_colours_are_the_source_s(tmp_path, real_clips):
    content = real_clips["02/sample_04.mp4"].read_bytes()
    path = rewritten(content, tmp_path / "out.mp4")
    with Video(content, "source") as before, Video(path.read_bytes(), "written") as after:
        assert before.colorspace == after.colorspace == 1
        for frame, same in list(zip(before.frames(), after.frames(), strict=True))[::40]:
            difference = frame.rgb.astype(float) - same.rgb
            assert np.abs(difference).mean() < 2
            assert np.abs(difference.mean(axis=(0, 1))).max() < 0.5


def test_where_nothing_can_be_written_one_line_says_so(tmp_path):
    missing = pytest.raises(EmotionRayError, match=r"can't write .*out.mp4: No such file")
    with missing, H264Writer(tmp_path / "missing" / "out.mp4", 25) as writer:
        writer.add(numbered(0), 0.0)


def test_a_full_disk_is_told(tmpfs):
    rng = np.random.default_rng(0)
    with (
        pytest.raises(EmotionRayError, match=r"can't write .*out.mp4: No space"),
        H264Writer(tmpfs("size=64k") / "out.mp4", 25) as writer,
    ):
        for index in range(30):
            writer.add(rng.integers(0, 256, (240, 320, 3), np.uint8), index / 25)


def test_without_a_picture_nothing_fails(tmp_path):
    with H264Writer(tmp_path / "out.mp4", 25):
        pass


def test_pictures_at_one_time_are_all_kept(tmp_path):
    with H264Writer(tmp_path / "out.mp4", 25) as writer:
        for number in range(5):
            writer.add(numbered(number), 0.0)
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert [number_of(one.to_ndarray(format="rgb24")) for one in written.decode(video=0)] == list(range(5))
