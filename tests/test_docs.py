"""What docs/ shows works as it stands there, and says what is so."""

import math
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_clips import write_small_clips

from emotion_ray.data.clips import Clips, clip_schema
from emotion_ray.settings import ServeSettings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "clips.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
TOLD = {"no": False, "yes": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One that holds `clips/`, of the shape that prepare makes."""
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(scope="module")
def clips(folder) -> Clips:
    return write_small_clips(folder / "clips", count=64, frames=60, size=64)


def run(block: str, folder: Path, monkeypatch) -> dict:
    """Runs a block where `clips/` is, and gives its names."""
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(block, "docs/clips.md", "exec"), names)  # noqa: S102 - our own page
    return names


def block(*words: str) -> str:
    """The one block that holds these words."""
    (found,) = [text for text in BLOCKS if all(word in text for word in words)]
    return found


def test_all_blocks_are_run_below():
    assert len(BLOCKS) == 6


def rows_by_actor(clips: Clips) -> list[int]:
    """The order of the shards: by actor, and of each by clip_id."""
    return sorted(range(len(clips)), key=lambda row: (clips.actor[row], clips.clip_id[row]))


@pytest.mark.slow
def test_pyarrow(folder, clips, monkeypatch):
    names = run(block("read_table", "to_numpy_ndarray()  # uint8"), folder, monkeypatch)
    order = rows_by_actor(clips)
    assert np.array_equal(names["frames"], clips.frames[order])
    assert names["emotion"].tolist() == clips.emotion[order].tolist()


@pytest.mark.slow
def test_pyarrow_one_file_after_the_other(folder, clips, monkeypatch):
    brightness = run(block("iter_batches"), folder, monkeypatch)["brightness"]
    expected = dict(zip(clips.clip_id, clips.frames.mean(axis=(1, 2, 3, 4)), strict=True))
    assert brightness == pytest.approx(expected)


@pytest.mark.slow
def test_duckdb(folder, clips, monkeypatch):
    names = run(block("duckdb"), folder, monkeypatch)
    assert names["counts"] == [(actor, emotion, 2, 60.0) for actor in (1, 2, 3, 4) for emotion in range(8)]
    assert np.array_equal(names["frames"], clips.frames[:2])


@pytest.mark.slow
def test_pandas(folder, clips, monkeypatch):
    names = run(block("pandas"), folder, monkeypatch)
    assert np.array_equal(names["frames"], clips.frames[rows_by_actor(clips)])
    assert names["boxes"].shape == (64, 60, 4)
    assert names["per_emotion"].to_dict() == dict.fromkeys(range(8), 8)


@pytest.mark.slow
def test_pytorch(folder, clips, monkeypatch):
    names = run(block("DataLoader"), folder, monkeypatch)
    assert tuple(names["frames"].shape) == (64, 60, 64, 64, 3)
    assert tuple(names["pixels_NTCHW"].shape) == (2, 60, 3, 64, 64)
    assert names["is_real_NT"].all()


@pytest.mark.slow
def test_pytorch_with_this_package(folder, clips, monkeypatch):
    names = run(block("one_split"), folder, monkeypatch)
    assert np.array_equal(names["train"].numpy(), clips.frames[names["split"].train])


def test_the_columns_are_those_of_the_schema():
    schema = clip_schema(frames=60, size=64)
    rows = re.findall(r"^\| `(\w+)` \| (\w+)(?: \[([TS0-9, ]+)\])? \| (yes|no) \|", PAGE, flags=re.MULTILINE)
    assert [row[0] for row in rows] == schema.names
    for name, kind, shape, null in rows:
        field = schema.field(name)
        assert field.nullable == TOLD[null]
        sizes = [{"T": 60, "S": 64}.get(one, one) for one in shape.split(", ")] if shape else []
        assert [int(one) for one in sizes] == list(getattr(field.type, "shape", []))
        assert getattr(field.type, "value_type", field.type) == pa.type_for_alias(kind)


def test_the_limits_of_the_service_are_those_of_its_settings():
    page = (ROOT / "docs" / "serving.md").read_text()
    limits = page.partition("\n## Limits\n")[2].partition("\n## ")[0]
    defaults = {one.name: one.default for one in fields(ServeSettings)}
    told = {}
    for flags, values in re.findall(r"^\| (`--.+?) \| (.+?) \|", limits, flags=re.MULTILINE):
        told |= dict(zip(re.findall(r"`--([a-z-]+)`", flags), values.split(", "), strict=True))
    told = {flag.replace("-", "_"): value for flag, value in told.items()}
    limited = {name for name in defaults if name.startswith(("max_", "live_")) or name.endswith("_limit_s")}
    assert set(told) >= limited - {"max_replicas", "max_faces"}, "these two refuse nothing"
    for name, value in told.items():
        if name == "at_once":
            assert (value, defaults[name]) == ("one a CPU", None)
        else:
            assert math.prod(float(number) for number in value.split(" x ")) == defaults[name], name
