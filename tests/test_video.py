"""Decoding: all formats, the right frames at the right times, the right way up."""

import math
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from counted_video import CODECS, HEIGHT, WIDTH, counted_video, number_of
from rotated_video import matrix_of

from emotion_ray.vision.video import RATE, Frame, Video, sample_times


def sampled(content: bytes, count: int = 60, sampling: str = "first") -> list[Frame]:
    times = sample_times(content, "x", count, sampling)
    with Video(content, "x") as video:
        return list(video.nearest(times))


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(frame.rgb) for frame in frames]


@pytest.mark.parametrize("container", CODECS)
def test_every_format_gives_all_its_frames(container):
    content = counted_video(container, 30)
    with Video(content, "x") as video:
        assert video.fps == pytest.approx(29.97, abs=0.01)
        frames = list(video.frames())
        assert video.cut_short is None
    assert numbers(frames) == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([k / RATE for k in range(30)], abs=2e-3)
    assert frames[0].rgb.dtype == np.uint8
    assert frames[0].rgb.flags.c_contiguous


@pytest.mark.parametrize("container", CODECS)
def test_a_take_of_ravdess_s_rate_gives_each_frame_once(container):
    assert numbers(sampled(counted_video(container, 90))) == list(range(60))


@pytest.mark.parametrize("rate", [25, 50, 24, 60, Fraction(24000, 1001), 15])
def test_of_another_rate_the_nearest_frame_is_taken(rate):
    frames = sampled(counted_video("mp4", 150, Fraction(rate)))
    places = [float(k / RATE * rate) for k in range(60)]
    assert len(frames) == 60
    for number, place in zip(numbers(frames), places, strict=True):
        assert abs(number - place) <= 0.5 + 1e-3 * rate, "a millisecond's rounding is allowed"
    assert [frame.time for frame in frames] == pytest.approx([k / RATE for k in range(60)])


def test_of_a_variable_rate_the_nearest_frame_is_taken():
    rng = np.random.default_rng(0)
    times = tuple(int(t) for t in np.cumsum(rng.integers(5, 90, 120)) + 1000)
    frames = sampled(counted_video("mkv", 120, milliseconds=times))
    from_first = (np.array(times) - times[0]) / 1000
    assert len(frames) == 60
    for frame in frames:
        off = abs(from_first - frame.time)
        assert off[number_of(frame.rgb)] <= off.min() + 1e-3


def test_a_short_take_gives_what_it_has():
    assert numbers(sampled(counted_video("mp4", 20))) == list(range(20))
    assert numbers(sampled(counted_video("mp4", 20), sampling="uniform")) == list(range(20))
    assert numbers(sampled(counted_video("mp4", 1))) == [0]
    assert numbers(sampled(counted_video("mp4", 1), sampling="uniform")) == [0]


def test_a_slow_take_lasts_as_long_as_it_is_shown():
    """Ten frames of 25 a second are 0.4 s, or twelve frames at 29.97."""
    assert len(sampled(counted_video("mp4", 10, Fraction(25)))) == 12


def test_uniform_sampling_spreads_over_the_whole_take():
    taken = numbers(sampled(counted_video("mp4", 119), 60, "uniform"))
    assert taken == list(range(0, 119, 2))
    taken = numbers(sampled(counted_video("mp4", 100), 60, "uniform"))
    assert (taken[0], taken[-1], len(taken)) == (0, 99, 60)
    assert set(np.diff(taken)) == {1, 2}
    assert numbers(sampled(counted_video("mp4", 100), 1, "uniform")) == [0]


def test_uniform_sampling_of_exactly_enough_frames_gives_each_once():
    assert numbers(sampled(counted_video("mp4", 60), 60, "uniform")) == list(range(60))


def test_decoding_stops_after_the_frames_that_are_wanted(monkeypatch):
    decoded = []
    of_video = Video._pictures

    def counting(self):
        for picture in of_video(self):
            decoded.append(picture)
            yield picture

    monkeypatch.setattr(Video, "_pictures", counting)
    assert len(sampled(counted_video("mp4", 90), 20)) == 20
    assert len(decoded) <= 21


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)],
    ids=["upright", "a quarter", "half", "three quarters"],
)
def test_the_display_rotation_is_applied_once(matrix, turns):
    """A point x, y is shown at a*x + c*y, b*x + d*y: (0, 1, -1, 0) is a quarter turn clockwise."""
    plain = counted_video("mp4", 3)
    with Video(matrix_of(plain, *matrix), "x") as video:
        turned = [frame.rgb for frame in video.frames()]
    assert turned[2].shape == ((WIDTH, HEIGHT, 3) if turns % 2 else (HEIGHT, WIDTH, 3))
    assert turned[2].flags.c_contiguous
    with Video(plain, "x") as video:
        upright = [frame.rgb for frame in video.frames()]
    assert all(np.array_equal(np.rot90(one, -turns), other) for one, other in zip(upright, turned, strict=True))


def test_colours_are_swscale_s_as_the_reference_has_them(real_clips):
    content = real_clips["01/sample_02.mp4"].read_bytes()
    with Video(content, "x") as video:
        ours = next(video.frames()).rgb
    with av.open(str(real_clips["01/sample_02.mp4"])) as container:
        theirs = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(ours, theirs)


@pytest.mark.slow
def test_a_real_take_is_counted_by_decoding_it(real_clips):
    counts = {}
    for name, path in real_clips.items():
        with Video(path.read_bytes(), name) as video:
            times = video.times()
            counts[name] = len(times)
            assert 28 < video.fps < 31
        assert all(math.isclose(b - a, 1 / RATE, abs_tol=2e-3) for a, b in pairwise(times))
    assert counts["data/1001_DFA_HAP_XX.flv"] == 56


def test_a_rate_that_can_not_be_is_none():
    with Video(counted_video("mp4", 3, Fraction(1, 100)), "slow") as video:
        assert video.fps == pytest.approx(29.97, abs=0.01)
        assert [frame.time for frame in video.frames()] == [0, 100, 200]
