"""The benchmark of scale, small: what it plans is exact, and what it reckons is the sum that it shows."""

import pytest
import scale
from machine import facts
from scale_model import CLIP_BYTES, Rates, Workload, hours, limits, needs, table, workloads
from tiny_video import FRAMES, SIZE, tiny_video

from emotion_ray.data.takes import Take
from emotion_ray.settings import CropSettings
from emotion_ray.vision.clipping import make_clip

RATES = Rates(
    clips_a_second_a_core=0.5,
    video_bytes=4e6,
    video_s=3.6,
    manifest_bytes=60,
    planned_bytes=1000,
    driver_bytes=3e8,
    planned_s=2e-5,
    shard_s=1e-3,
    driver_clips_a_second=50.0,
)


@pytest.mark.slow
def test_half_of_a_plan_is_found_to_be_done(tmp_path):
    found = scale.planning(tmp_path, 1000)
    assert (found["fresh"]["takes"], found["fresh"]["left"]) == (1000, 1000)
    assert (found["resumed"]["takes"], found["resumed"]["left"]) == (1000, 500)
    assert found["resumed"]["shards"] == 16  # of 32 clips, the last of 20
    assert 0 < found["fresh"]["before_bytes"] <= found["fresh"]["peak_bytes"]
    about = facts() | {"rates_from": "a test"}
    assert "| 1,000 takes planned, half of them there |" in scale._page(about, RATES, found | {"graph": None}, 1000)


def test_a_tiny_video_makes_a_clip(mtcnn):
    take = Take("a", 1, 2, None, None, None, None, "tiny.mp4")
    clip = make_clip(take, tiny_video(), 0, CropSettings(frames=FRAMES, size=SIZE), mtcnn)
    assert clip.found.all()


def test_the_sums_are_right():
    work = Workload("some", 7200, 7200 * 4e6)
    assert hours(work, RATES, cores=4) == pytest.approx(1.0)
    rows = {what: much for what, much, _ in needs(work, RATES)}
    assert rows["clips"] == f"{7200 * CLIP_BYTES / 1e9:.3g} GB"
    assert rows["shards, at least"] == "225"
    assert rows["driver's memory"] == "307 MB"
    assert rows["network into each machine"] == "32 MB/s"


def test_workloads_are_as_long_as_they_say():
    by_name = {work.name: work for work in workloads(RATES, 1440, 13e9)}
    assert by_name["24 actors"].takes == 1440
    assert by_name["1,000 hours"].takes * RATES.video_s == pytest.approx(1000 * 3600)
    assert by_name["1,000,000 clips"].video_bytes == 4e12


def test_the_nearest_limit_comes_first():
    found = limits(RATES)
    assert found[1][0].startswith("training")
    assert ("the driver's memory while planning", "1,700,000 takes") in [row[:2] for row in found]
    assert found[0][1] == "100 cores"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
