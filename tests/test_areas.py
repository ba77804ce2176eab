"""Area resizing against PyTorch's own."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from emotion_ray.vision.areas import SummedAreas, Window

NEAR = 3e-5  # grey levels: float32's rounding of a mean in 0..255


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def resized(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """PyTorch's area resize, in float64: float32 [rows, columns, 3]."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].double()
    return interpolate(pixels, (rows, columns), mode="area")[0].permute(1, 2, 0).float().numpy()


sides = st.integers(1, 60)


@given(sides, sides, st.integers(1, 80), st.integers(1, 80))
@example(1, 1, 1, 1)
@example(2, 3, 48, 24)  # enlarged
@settings(deadline=None)
def test_a_level_is_pytorch_s(height, width, rows, columns):
    picture = noise(height, width)
    areas = SummedAreas([picture], Window.whole(height, width))
    [level] = areas.level(rows, columns, Window.whole(rows, columns))
    assert level.dtype == np.float32
    np.testing.assert_allclose(level, resized(picture, rows, columns), atol=NEAR)


@pytest.mark.parametrize("scale", [0.6, 0.6 * 0.709, 0.6 * 0.709**2, 0.6 * 0.709**5, 0.6 * 0.709**10])
def test_the_levels_of_a_large_frame_are_pytorch_s_float32(scale):
    picture = noise(720, 1280)
    rows, columns = int(720 * scale + 1), int(1280 * scale + 1)
    [level] = SummedAreas([picture], Window.whole(720, 1280)).level(rows, columns, Window.whole(rows, columns))
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    theirs = interpolate(pixels, (rows, columns), mode="area")[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(level, theirs, atol=NEAR)


def test_the_largest_frame_does_not_overflow():
    """Its whole sum passes 2**31; each bin's, which is a difference, does not."""
    white = np.full((2304, 4096, 3), 255, np.uint8)
    assert int(white[..., 0].sum()) > 2**31
    areas = SummedAreas([white], Window.whole(2304, 4096))
    assert (areas.level(20, 30, Window.whole(20, 30)) == 255).all()
    assert (areas.crops(np.zeros(1, int), np.array([[0, 0, 4096, 2000]]), 24) == 255).all()
    assert (areas.crops(np.zeros(1, int), np.array([[2000, 1300, 4096, 2304]]), 48) == 255).all()


@given(st.data())
@settings(deadline=None)
def test_a_window_gives_what_the_whole_frame_gives_there(data):
    frames = [noise(40, 50, seed) for seed in range(3)]
    rows, columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 50))
    y0, x0 = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    y1, x1 = data.draw(st.integers(y0 + 1, rows)), data.draw(st.integers(x0 + 1, columns))
    part = Window(x0, y0, x1, y1)
    window = Window(x0 * 50 // columns, y0 * 40 // rows, -(-x1 * 50 // columns), -(-y1 * 40 // rows))
    levels = SummedAreas(frames, window).level(rows, columns, part)
    whole = SummedAreas(frames, Window.whole(40, 50)).level(rows, columns, Window.whole(rows, columns))
    assert np.array_equal(levels, whole[:, y0:y1, x0:x1])


@given(st.data())
@settings(deadline=None)
def test_crops_are_pytorch_s_resize_of_the_cut(data):
    frames = [noise(40, 50, seed) for seed in range(2)]
    window = Window(3, 5, 47, 38)
    count, size = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 24, 48, 64]))
    boxes, of_frame = [], []
    for _ in range(count):
        x0, y0 = data.draw(st.integers(3, 46)), data.draw(st.integers(5, 37))
        boxes.append((x0, y0, data.draw(st.integers(x0 + 1, 47)), data.draw(st.integers(y0 + 1, 38))))
        of_frame.append(data.draw(st.integers(0, 1)))
    crops = SummedAreas(frames, window).crops(np.array(of_frame), np.array(boxes), size)
    assert crops.shape == (count, size, size, 3)
    for crop, frame, (x0, y0, x1, y1) in zip(crops, of_frame, boxes, strict=True):
        np.testing.assert_allclose(crop, resized(frames[frame][y0:y1, x0:x1], size, size), atol=NEAR)


def test_one_frame_alone_is_that_frame():
    frames = [noise(20, 30, seed) for seed in range(3)]
    areas = SummedAreas(frames, Window.whole(20, 30))
    part = Window.whole(10, 10)
    assert len(areas) == 3
    assert len(areas.only(1)) == 1
    assert np.array_equal(areas.only(1).level(10, 10, part), areas.level(10, 10, part)[1:2])


def test_a_frame_may_lie_in_memory_in_any_way():
    picture = noise(20, 30)
    turned = np.rot90(picture)  # a view with other strides
    mirrored = picture[:, ::-1]
    for view in (turned, mirrored):
        height, width = view.shape[:2]
        [level] = SummedAreas([view], Window.whole(height, width)).level(7, 9, Window.whole(7, 9))
        np.testing.assert_allclose(level, resized(view, 7, 9), atol=NEAR)
