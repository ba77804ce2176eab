"""Clips to Parquet and back, and what a folder of them may hold."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise_clip import noise_clip

from emotion_ray.data import clips as clips_module
from emotion_ray.data.clips import (
    SCHEMA_VERSION,
    Clip,
    clip_schema,
    clips_to_table,
    open_shard,
    read_clips,
    read_columns,
    read_shard,
    shard_names,
    write_shards,
)
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder.at(tmp_path / "clips")


def same(ours: Clip, other: Clip) -> bool:
    return all(
        np.array_equal(mine, theirs) and getattr(mine, "dtype", None) == getattr(theirs, "dtype", None)
        if isinstance(theirs, np.ndarray)
        else mine == theirs
        for mine, theirs in zip(vars(ours).values(), vars(other).values(), strict=True)
    )


def read_clip(folder: Folder, name: str, row: int) -> Clip:
    """One clip whole, from a shard and its row there."""
    table = read_shard(folder, name)
    values = {}
    for field in table.schema:
        chunk = table[field.name].combine_chunks()
        chunk = chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk
        tensor = isinstance(field.type, pa.FixedShapeTensorType)
        values[field.name] = chunk.to_numpy_ndarray()[row] if tensor else chunk[row].as_py()
    return Clip(**values)


def test_a_clip_survives_its_shard(folder):
    clips = [
        dataclasses.replace(noise_clip("b", num_frames=2), fps=25.0, source_crc32=2**32 - 1),
        dataclasses.replace(noise_clip("a"), fps=30.0, intensity=None, modality=None, source="s3://x/y.zip!Ünïcode"),
    ]
    [name] = write_shards(folder, clips)
    assert same(read_clip(folder, name, 1), clips[0])
    assert same(read_clip(folder, name, 0), clips[1])


def test_shards_stand_by_actor_and_a_write_done_twice_leaves_one(folder):
    clips = [noise_clip(f"clip-{i}", actor=1 + i % 2) for i in range(5)]
    names = write_shards(folder, clips)
    assert [name.rsplit("/", 1)[0] for name in names] == ["shards/Actor_01", "shards/Actor_02"]
    assert write_shards(folder, clips[::-1]) == names
    assert shard_names(folder) == names
    assert read_columns(folder, ["clip_id"])["clip_id"].to_pylist() == [
        "clip-0",
        "clip-2",
        "clip-4",
        "clip-1",
        "clip-3",
    ]


def test_clips_are_read_sorted_whatever_the_order_of_writing(folder):
    made = [noise_clip(f"clip-{i:02d}", actor=1 + i * 7 % 5, emotion=i % 8, num_frames=1 + i % 4) for i in range(20)]
    for start in range(0, 20, 6):
        write_shards(folder, made[start : start + 6][::-1])
    clips = read_clips(folder)
    assert clips.clip_id == [clip.clip_id for clip in made]
    assert clips.frames.dtype == clips.found.dtype == np.uint8
    assert clips.actor.dtype == clips.emotion.dtype == clips.num_frames.dtype == np.int64
    for name in ("actor", "emotion", "num_frames"):
        assert getattr(clips, name).tolist() == [getattr(clip, name) for clip in made]
    for name in ("frames", "found"):
        assert np.array_equal(getattr(clips, name), np.stack([getattr(clip, name) for clip in made]))
    assert clips.prepared_with == {"mark"}


def test_some_clips_are_taken_by_position(folder):
    write_shards(folder, [noise_clip(f"clip-{i}", emotion=i) for i in range(4)])
    clips = read_clips(folder)
    some = clips.take(np.array([3, 1]))
    assert len(some) == 2
    assert some.clip_id == ["clip-3", "clip-1"]
    assert some.emotion.tolist() == [3, 1]
    some.frames[:] = 0
    assert clips.frames[3].any(), "a copy"


def test_a_folder_without_clips_says_what_to_do(folder):
    with pytest.raises(EmotionRayError, match=r"no clips in .*emotion-ray prepare"):
        read_clips(folder)


def test_a_clip_that_is_there_twice_is_refused(folder):
    write_shards(folder, [noise_clip("a"), noise_clip("b")])
    write_shards(folder, [noise_clip("b")])
    with pytest.raises(EmotionRayError, match=r"clip b is in .* more than once"):
        read_clips(folder)


def test_clips_of_two_shapes_are_refused(folder):
    write_shards(folder, [noise_clip("a")])
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    write_shards(folder, [dataclasses.replace(noise_clip("b"), frames=frames)])
    with pytest.raises(EmotionRayError, match=r"4 frames of (16x16|32x32) .*4 frames of (16x16|32x32)"):
        read_clips(folder)


def test_another_schema_version_is_refused(folder, monkeypatch):
    monkeypatch.setattr(clips_module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    [name] = write_shards(folder, [noise_clip("a")])
    monkeypatch.undo()
    with pytest.raises(EmotionRayError, match=f"has clip schema version {SCHEMA_VERSION + 1}, .* another folder"):
        read_clips(folder)
    with pytest.raises(EmotionRayError, match="schema version"):
        open_shard(folder, name)


def test_a_stranger_s_parquet_file_is_refused(folder):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    folder.publish("shards/Actor_01/x.parquet", sink.getvalue())
    with pytest.raises(EmotionRayError, match="schema version none"):
        read_clips(folder)


@pytest.mark.parametrize("damage", ["empty", "text", "cut off", "middle", "one bit"])
def test_a_damaged_shard_is_named(folder, damage):
    [name] = write_shards(folder, [noise_clip(f"clip-{i}") for i in range(20)])
    whole = folder.read(name)
    damaged = bytearray(whole)
    if damage == "middle":
        damaged[len(whole) // 2 : len(whole) // 2 + 2000] = bytes(2000)
    elif damage == "one bit":
        damaged[len(whole) // 2] ^= 4
    folder.publish(name, {"empty": b"", "text": b"no Parquet", "cut off": whole[:-100]}.get(damage, bytes(damaged)))
    with pytest.raises(EmotionRayError, match="is no readable shard") as caught:
        read_clips(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_schema_is_what_it_says():
    schema = clip_schema(60, 64)
    assert schema.metadata == {b"emotion_ray.schema_version": str(SCHEMA_VERSION).encode()}
    assert schema.names == [field.name for field in dataclasses.fields(Clip)]
    assert tuple(schema.field("frames").type.shape) == (60, 64, 64, 3)
    assert tuple(schema.field("boxes").type.shape) == (60, 4)
    assert [field.name for field in schema if field.nullable] == ["intensity", "statement", "repetition", "modality"]
    table = clips_to_table([noise_clip("a")])
    assert table.schema.equals(clip_schema(4, 16), check_metadata=True)
    table.validate(full=True)


@pytest.mark.slow
def test_plain_pyarrow_reads_a_shard_without_us_and_without_ray(folder):
    made = noise_clip("a")
    [name] = write_shards(folder, [made])
    program = (
        "import json, sys, pyarrow.parquet as pq\n"
        "column = pq.read_table(sys.argv[1])['frames'].combine_chunks()\n"
        "column = column.chunk(0) if hasattr(column, 'chunk') else column\n"
        "frames = column.to_numpy_ndarray()\n"
        "assert not {'ray', 'emotion_ray', 'torch'} & set(sys.modules)\n"
        "print(json.dumps([frames.shape, int(frames.sum()), str(frames.dtype)]))\n"
    )
    printed = subprocess.check_output([sys.executable, "-c", program, folder.file(name)], text=True)
    assert json.loads(printed) == [[1, 4, 16, 16, 3], int(made.frames.sum()), "uint8"]


@pytest.mark.slow
def test_many_clips_load_quickly_and_in_little_more_memory_than_they_take(folder):
    """600 are to load in 5 s with a peak of 1.5 times their 442 MB. What is beyond their size does not grow with
    their number, so that 200 show it."""
    count = 200
    coarse = np.random.default_rng(0).integers(0, 256, (60, 16, 64, 3), np.uint8)
    frames = coarse.repeat(4, axis=1)
    arrays = {
        "found": np.ones(60, np.uint8),
        "boxes": np.zeros((60, 4), np.float32),
        "probs": np.ones(60, np.float32),
        "times": np.zeros(60, np.float32),
    }
    for start in range(0, count, 20):
        batch = [
            dataclasses.replace(noise_clip(f"clip-{i:03d}", actor=1 + i // 20), frames=frames, **arrays)
            for i in range(start, start + 20)
        ]
        write_shards(folder, batch)
    program = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from emotion_ray.data.clips import read_clips\n"
        "from emotion_ray.data.storage import Folder\n"
        "def peak():  # ru_maxrss would count the parent's memory too\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return 1024 * int(next(line for line in lines if line.startswith('VmHWM')).split()[1])\n"
        "before, start = peak(), time.perf_counter()\n"
        "clips = read_clips(Folder.at(sys.argv[1]))\n"
        "print(json.dumps([len(clips), clips.frames.nbytes, peak() - before, time.perf_counter() - start]))\n"
    )
    printed = subprocess.check_output([sys.executable, "-c", program, folder.path], text=True)
    number, size, peak, seconds = json.loads(printed)
    assert number == count
    assert size == count * 60 * 64 * 64 * 3
    assert peak - size < 150e6
    assert seconds < 5
