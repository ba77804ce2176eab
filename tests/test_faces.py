"""One face through time: which it is, where it is, and its crop."""

import numpy as np
import pytest
import torch
from face_scenes import grey, scene
from torch.nn.functional import interpolate

from emotion_ray.data.takes import Take
from emotion_ray.sample.build import encode
from emotion_ray.sample.render import SAMPLE_RATE
from emotion_ray.settings import CropSettings
from emotion_ray.vision.clipping import make_clip
from emotion_ray.vision.faces import PATIENCE, FaceCrop, FaceFollower, intersection_over_union
from emotion_ray.vision.mtcnn import MTCNN
from emotion_ray.vision.search import find_faces
from emotion_ray.vision.video import Video

DETECTORS = ("exact", "track")

pytestmark = pytest.mark.usefixtures("one_thread")


def followed(mtcnn: MTCNN, frames: list[np.ndarray], detector: str, size: int = 64) -> list[FaceCrop]:
    return list(FaceFollower(mtcnn, detector, size).crops(iter(frames)))


def centre(crop: FaceCrop) -> float:
    """x in px."""
    return float(crop.box[0] + crop.box[2]) / 2


def moving(count: int, step: int = 4) -> list[np.ndarray]:
    return [scene((1, 150 + step * index, 160)) for index in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_face_is_followed(mtcnn, detector):
    crops = followed(mtcnn, moving(25), detector)
    assert len(crops) == 25
    assert all(crop.found and crop.prob > 0.9 for crop in crops)
    for index, crop in enumerate(crops):
        assert centre(crop) == pytest.approx(centre(crops[0]) + 4 * index, abs=6)
        assert crop.pixels.shape == (64, 64, 3)
        assert crop.pixels.dtype == np.uint8
        assert crop.box.dtype == np.float32


@pytest.mark.slow
def test_a_tracked_face_has_the_exact_box(mtcnn):
    frames = moving(12)
    pairs = zip(followed(mtcnn, frames, "exact"), followed(mtcnn, frames, "track"), strict=True)
    overlaps = [intersection_over_union(track.box[None], exact.box)[0] for exact, track in pairs]
    assert min(overlaps) > 0.85
    assert np.mean(overlaps) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_where_there_is_no_face_nothing_comes(mtcnn, detector):
    assert followed(mtcnn, [grey()] * 20, detector) == []
    assert followed(mtcnn, [], detector) == []
    assert followed(mtcnn, [grey(10, 10)] * 3, detector) == []


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("late", [1, 7, 20])
def test_frames_before_the_first_face_are_cropped_where_it_appears(mtcnn, detector, late):
    lead = [np.full_like(grey(), 10 + index) for index in range(late)]
    crops = followed(mtcnn, [*lead, *moving(5)], detector)
    assert len(crops) == late + 5
    assert [crop.found for crop in crops] == [False] * late + [True] * 5
    for index, crop in enumerate(crops[:late]):
        assert np.array_equal(crop.box, crops[late].box)
        assert crop.prob == 0
        assert (crop.pixels == 10 + index).all(), "its own pixels, and in order"


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_frame_without_a_face_takes_the_previous_box(mtcnn, detector):
    frames = moving(20)
    gap = range(8, 12)
    for index in gap:
        frames[index] = np.full_like(grey(), 77)
    crops = followed(mtcnn, frames, detector)
    assert [crop.found for crop in crops] == [index not in gap for index in range(20)]
    for index in gap:
        assert np.array_equal(crops[index].box, crops[7].box)
        assert crops[index].prob == 0
        assert (crops[index].pixels == 77).all()
    assert centre(crops[12]) == pytest.approx(centre(crops[7]) + 20, abs=6)


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_face_that_never_returns_keeps_its_place(mtcnn, detector):
    crops = followed(mtcnn, moving(3) + [grey()] * 30, detector)
    assert sum(crop.found for crop in crops) == 3
    assert all(np.array_equal(crop.box, crops[2].box) for crop in crops[2:])


def growing_beside(count: int = 24) -> list[np.ndarray]:
    """A face on the left that stays, and one on the right that starts smaller and ends larger."""
    return [scene((0.8, 130, 180), (0.5 + 0.9 * index / count, 460, 180)) for index in range(count)]


def test_tracking_stays_with_the_face_that_was_the_largest_at_first(mtcnn):
    crops = followed(mtcnn, growing_beside(), "track")
    assert all(crop.found and centre(crop) < 250 for crop in crops)


@pytest.mark.slow
def test_exact_gives_the_largest_face_of_each_frame(mtcnn):
    crops = followed(mtcnn, growing_beside(), "exact")
    assert centre(crops[0]) < 250
    assert centre(crops[-1]) > 400


def test_tracking_stays_with_its_face_while_another_passes_close_by(mtcnn):
    frames = [scene((0.8, 200, 180), (0.6, 620 - 12 * index, 180)) for index in range(18)]
    crops = followed(mtcnn, frames, "track")
    assert all(centre(crop) < 280 for crop in crops)


def test_tracking_follows_through_a_cut_to_a_face_in_the_same_place(mtcnn):
    frames = [scene((1, 200, 160))] * 6 + [scene((1.3, 215, 170))] * 6
    crops = followed(mtcnn, frames, "track")
    exact = followed(mtcnn, frames, "exact")
    assert all(crop.found for crop in crops)
    overlaps = [intersection_over_union(a.box[None], b.box)[0] for a, b in zip(crops, exact, strict=True)]
    assert min(overlaps) > 0.85


@pytest.mark.slow
def test_after_a_cut_tracking_waits_half_a_second_before_it_takes_another_face(mtcnn):
    frames = [scene((0.8, 130, 180))] * 5 + [scene((0.8, 500, 180))] * (PATIENCE + 5)
    crops = followed(mtcnn, frames, "track")
    assert [crop.found for crop in crops] == [True] * 5 + [False] * PATIENCE + [True] * 5
    assert all(centre(crop) < 250 for crop in crops[: 5 + PATIENCE])
    assert all(centre(crop) > 400 for crop in crops[5 + PATIENCE :])


@pytest.mark.slow
def test_a_face_that_returns_in_time_is_the_same_face(mtcnn):
    frames = [scene((0.8, 130, 180))] * 3 + [scene((0.8, 500, 180))] * (PATIENCE - 2) + [scene((0.8, 140, 180))] * 3
    crops = followed(mtcnn, frames, "track")
    assert all(centre(crop) < 250 for crop in crops)
    assert all(crop.found for crop in crops[-3:])


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_no_frame_depends_on_a_later_one(mtcnn, detector):
    frames = moving(12)
    before = followed(mtcnn, frames, detector)
    after = followed(mtcnn, frames[:7] + [grey()] * 5, detector)
    for one, other in zip(before[:7], after[:7], strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.01)
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1


@pytest.mark.parametrize("detector", DETECTORS)
def test_crops_come_while_the_video_is_read(mtcnn, detector):
    """No more frames are taken in than a few at once."""
    taken = []

    def frames():
        for index, frame in enumerate(moving(40, step=2)):
            taken.append(index)
            yield frame

    next(FaceFollower(mtcnn, detector).crops(frames()))
    assert len(taken) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_frames_before_the_first_face_are_asked_for_again_or_held_for_the_same_crops(mtcnn, detector):
    frames, asked = [*[grey()] * 20, *moving(4)], []

    def again(count):
        asked.append(count)
        return iter(frames[:count])

    held = list(FaceFollower(mtcnn, detector).crops(iter(frames)))
    anew = list(FaceFollower(mtcnn, detector).crops(iter(frames), again))
    assert asked == [20] and len(anew) == 24
    for one, other in zip(held, anew, strict=True):
        assert (one.found, one.prob) == (other.found, other.prob)
        assert np.array_equal(one.pixels, other.pixels) and np.array_equal(one.box, other.box)
    assert not list(FaceFollower(mtcnn, detector).crops(iter(frames[:20]), lambda count: pytest.fail("for nothing")))


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_clip_has_the_frames_before_its_face_too(mtcnn, detector):
    pictures = np.stack([*[grey()] * 8, *moving(10)])
    content = encode(pictures, np.zeros(SAMPLE_RATE, np.float32))
    take = Take("a", 1, 2, None, None, None, None, "late.mp4")
    clip = make_clip(take, content, 0, CropSettings(frames=18, detector=detector, size=32), mtcnn)
    with Video(content, "late.mp4") as video:
        crops = followed(mtcnn, [frame.rgb for frame in video.frames()], detector, 32)
    assert clip.found.tolist() == [0] * 8 + [1] * 10
    assert np.array_equal(clip.frames, np.stack([crop.pixels for crop in crops]))


@pytest.mark.parametrize("size", [64, 112])
def test_a_crop_is_facenet_pytorch_s(mtcnn, size):
    """Cut at whole px, to the picture, not squared, and area-resized."""
    picture = scene((1.3, 220, 160))
    [crop] = followed(mtcnn, [picture], "exact", size)
    x0, y0, x1, y1 = crop.box
    assert x0 > 0
    cut = picture[int(max(y0, 0)) : int(min(y1, 360)), int(max(x0, 0)) : int(min(x1, 640))]
    pixels = torch.from_numpy(cut.copy()).permute(2, 0, 1)[None].double()
    theirs = interpolate(pixels, (size, size), mode="area")[0].permute(1, 2, 0).numpy()
    assert np.abs(crop.pixels - theirs).max() <= 0.5 + 1e-4


def test_a_face_that_passes_the_edge_is_cut_there(mtcnn):
    picture = scene((1.5, 70, 160))
    picture = picture[:, 45:]
    [crop] = followed(mtcnn, [picture], "exact")
    assert crop.box[0] < 0
    cut = picture[int(crop.box[1]) : int(crop.box[3]), : int(crop.box[2])]
    pixels = torch.from_numpy(cut.copy()).permute(2, 0, 1)[None].double()
    theirs = interpolate(pixels, (64, 64), mode="area")[0].permute(1, 2, 0).numpy()
    assert np.abs(crop.pixels - theirs).max() <= 0.5 + 1e-4


def test_two_videos_have_two_followers_and_one_detector(mtcnn):
    """A follower's past is its own."""
    left, right = [scene((0.8, 130, 180))] * 3, [scene((0.8, 500, 180))] * 3
    first, second = FaceFollower(mtcnn), FaceFollower(mtcnn)
    pairs = list(zip(first.crops(left), second.crops(right), strict=True))
    assert all(centre(one) < 250 and centre(other) > 400 for one, other in pairs)


def test_a_follower_goes_on_where_it_was(mtcnn):
    """Live video comes in pieces."""
    follower = FaceFollower(mtcnn, "track")
    frames = moving(12)
    pieces = [crop for start in range(0, 12, 3) for crop in follower.crops(frames[start : start + 3])]
    whole = followed(mtcnn, frames, "track")
    assert len(pieces) == 12
    overlaps = [intersection_over_union(a.box[None], b.box)[0] for a, b in zip(pieces, whole, strict=True)]
    assert min(overlaps) > 0.9


def test_all_faces_are_more_than_the_largest(mtcnn):
    picture = scene((1, 150, 150), (0.25, 450, 150))
    assert len(find_faces(mtcnn, [picture], "all")[0]) == 2


def test_intersection_over_union():
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 4, 4]], float)
    overlaps = intersection_over_union(boxes, np.array([0, 0, 2, 2], float))
    assert overlaps == pytest.approx([1, 1 / 7, 0, 1 / 4])
