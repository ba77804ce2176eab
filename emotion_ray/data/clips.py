"""The clip: the one record that passes between the stages, and its Parquet shards.

A folder of clips holds `shards/Actor_XX/clips-<hash>.parquet`, one row per take, readable by plain pyarrow.
The columns are those of `Clip`; `frames` and `boxes` are Arrow's own fixed-shape tensors.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emotion_ray.data.storage import Folder, cause_of, is_of_store
from emotion_ray.errors import EmotionRayError

SCHEMA_VERSION = 1
SHARDS = "shards"
ROWS_PER_GROUP = 8  # of 0.7 MB each: a reader never holds more than a few MB beside what it keeps
SHARDS_AT_A_TIME = 8
ZSTD_LEVEL = 1  # face crops are noise to zstd: level 3 takes 2.2 times as long for 3% less


@dataclass(frozen=True, eq=False)
class Clip:
    """One take as a model sees it: T frames of one face.

    Attributes:
        clip_id: unique in its folder; for RAVDESS the file-name code, `01-01-05-01-02-02-07`.
        actor: whole number.
        emotion: 0..7, an index into `ravdess.EMOTIONS`.
        intensity, statement, repetition, modality: RAVDESS's codes; None for other data.
        frames: uint8 [T, S, S, 3] RGB, the face's crop in each frame; zeros where padded.
        num_frames: 1..T, the frames before padding.
        found: uint8 [T], 1 where a face was detected in this very frame.
        boxes: float32 [T, 4], x0 y0 x1 y1 in px of the source (display orientation).
        probs: float32 [T], the detector's probability, 0 where no face was found.
        times: float32 [T], seconds from the video's first frame: the times that were asked for, on the grid of the
            sampling; each frame is the one nearest to its time. Zeros where padded.
        fps: frames a second of the source.
        source: where it came from: a URI, and `!member` for a member of an archive.
        source_crc32: CRC-32 of the encoded video.
        prepared_with: fingerprint of every setting and version that changes pixels.
    """

    clip_id: str
    actor: int
    emotion: int
    intensity: int | None
    statement: int | None
    repetition: int | None
    modality: int | None
    frames: np.ndarray
    num_frames: int
    found: np.ndarray
    boxes: np.ndarray
    probs: np.ndarray
    times: np.ndarray
    fps: float
    source: str
    source_crc32: int
    prepared_with: str


def clip_schema(frames: int, size: int) -> pa.Schema:
    """The Arrow schema of clips of `frames` crops of `size` x `size` px, its version in the metadata."""
    tensor = pa.fixed_shape_tensor
    return pa.schema(
        [
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("actor", pa.int32(), nullable=False),
            pa.field("emotion", pa.int8(), nullable=False),
            pa.field("intensity", pa.int8()),
            pa.field("statement", pa.int8()),
            pa.field("repetition", pa.int8()),
            pa.field("modality", pa.int8()),
            pa.field("frames", tensor(pa.uint8(), [frames, size, size, 3]), nullable=False),
            pa.field("num_frames", pa.int16(), nullable=False),
            pa.field("found", tensor(pa.uint8(), [frames]), nullable=False),
            pa.field("boxes", tensor(pa.float32(), [frames, 4]), nullable=False),
            pa.field("probs", tensor(pa.float32(), [frames]), nullable=False),
            pa.field("times", tensor(pa.float32(), [frames]), nullable=False),
            pa.field("fps", pa.float32(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("source_crc32", pa.uint32(), nullable=False),
            pa.field("prepared_with", pa.string(), nullable=False),
        ],
        metadata={"emotion_ray.schema_version": str(SCHEMA_VERSION)},
    )


def clips_to_table(clips: Sequence[Clip]) -> pa.Table:
    """Clips of one shape as an Arrow table of `clip_schema`."""
    frames, size = clips[0].frames.shape[:2]
    schema = clip_schema(frames, size)
    columns = []
    for field in schema:
        values = [getattr(clip, field.name) for clip in clips]
        if isinstance(field.type, pa.FixedShapeTensorType):
            flat = np.stack(values).astype(field.type.value_type.to_pandas_dtype(), copy=False).reshape(-1)
            storage = pa.FixedSizeListArray.from_arrays(pa.array(flat), len(flat) // len(clips))
            columns.append(pa.ExtensionArray.from_storage(field.type, storage))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def write_shards(folder: Folder, clips: Iterable[Clip]) -> list[str]:
    """Publishes clips, one shard per actor among them, and gives the shards' names within the folder.

    A shard's name follows from the clips in it, so that a write done twice leaves one shard.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    by_actor: dict[int, list[Clip]] = {}
    for clip in clips:
        by_actor.setdefault(clip.actor, []).append(clip)
    names = []
    for actor, of_actor in sorted(by_actor.items()):
        of_actor.sort(key=lambda clip: clip.clip_id)
        digest = hashlib.sha256("\n".join(clip.clip_id for clip in of_actor).encode()).hexdigest()[:12]
        name = f"{SHARDS}/Actor_{actor:02d}/clips-{digest}.parquet"
        publish_shard(folder, name, clips_to_table(of_actor))
        names.append(name)
    return names


def publish_shard(folder: Folder, name: str, table: pa.Table) -> None:
    """Writes a table of `clip_schema` as a shard; one of that name is replaced.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        write_page_checksum=True,
    )
    folder.publish(name, sink.getvalue())


def shard_names(folder: Folder) -> list[str]:
    """The shards in a folder of clips, sorted; those being written are not among them."""
    return folder.names(".parquet", below=SHARDS)


def open_shard(folder: Folder, name: str) -> pq.ParquetFile:
    """Opens a shard and checks its schema version.

    Raises:
        EmotionRayError: no readable Parquet file, or another schema version.
    """
    with shard_errors(folder, name):
        file = folder.filesystem.open_input_file(folder.file(name))
        shard = pq.ParquetFile(file, page_checksum_verification=True)
    version = (shard.schema_arrow.metadata or {}).get(b"emotion_ray.schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise EmotionRayError(
            f"{folder.uri}/{name} has clip schema version {version}, this program reads {SCHEMA_VERSION}: "
            "prepare into another folder"
        )
    return shard


@contextmanager
def shard_errors(folder: Folder, name: str) -> Iterator[None]:
    """Turns an error in reading a shard into one that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        fix = "check the network and the credentials" if is_of_store(error) else "delete it and prepare again"
        raise EmotionRayError(f"{folder.uri}/{name} is no readable shard ({cause_of(error)}); {fix}") from None


def read_shard(folder: Folder, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The named columns of a shard; all of them by default.

    Raises:
        EmotionRayError: an unreadable shard, or another schema version.
    """
    shard = open_shard(folder, name)
    with shard_errors(folder, name):
        return shard.read(columns=None if columns is None else list(columns))


def read_shards(folder: Folder, names: Sequence[str], columns: Sequence[str]) -> Iterator[pa.Table]:
    """The named columns of these shards, in this order, several read at a time: an object store is slow to answer.

    Raises:
        EmotionRayError: an unreadable shard, or another schema version.
    """
    with ThreadPoolExecutor(SHARDS_AT_A_TIME) as readers:
        yield from readers.map(lambda name: read_shard(folder, name, columns), names)


def read_columns(folder: Folder, columns: Sequence[str]) -> pa.Table:
    """The named columns of all clips in a folder, in the order of the shards; cheap without `frames`.

    Raises:
        EmotionRayError: an unreadable shard, or another schema version.
    """
    tables = list(read_shards(folder, shard_names(folder), columns))
    return pa.concat_tables(tables) if tables else pa.table({column: [] for column in columns})


@dataclass(frozen=True, eq=False)
class Clips:
    """Many clips of one shape in memory, sorted by clip_id; every array's first axis is the clip.

    Attributes are those of `Clip`, in the plural sense: `frames` is uint8 [N, T, S, S, 3], `emotion` and
    `actor` are int64 [N], `num_frames` int64 [N], `found` uint8 [N, T]; `clip_id` is a list of N names.
    `prepared_with` is the set of fingerprints among them.
    """

    clip_id: list[str]
    actor: np.ndarray
    emotion: np.ndarray
    frames: np.ndarray
    num_frames: np.ndarray
    found: np.ndarray
    prepared_with: frozenset[str]

    def __len__(self) -> int:
        return len(self.clip_id)

    def take(self, indices: np.ndarray) -> "Clips":
        """The clips at these positions, copied."""
        return Clips(
            clip_id=[self.clip_id[i] for i in indices],
            actor=self.actor[indices],
            emotion=self.emotion[indices],
            frames=self.frames[indices],
            num_frames=self.num_frames[indices],
            found=self.found[indices],
            prepared_with=self.prepared_with,
        )


def read_clips(folder: Folder) -> Clips:
    """Reads a folder of clips into memory, with little more memory than the clips take.

    Args:
        folder: where `write_shards` put them.

    Raises:
        EmotionRayError: no clips, an unreadable shard, shards of different shapes, or a clip that is there twice.
    """
    names = shard_names(folder)
    facts = read_columns(folder, ["clip_id", "actor", "emotion", "num_frames", "prepared_with"])
    if not len(facts):
        raise EmotionRayError(f"no clips in {folder.uri}: run `emotion-ray prepare --out {folder.uri}` first")
    ids = np.array(facts["clip_id"].to_pylist(), dtype=object)
    order = np.argsort(ids)
    ids = ids[order]
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise EmotionRayError(
            f"clip {twice[0]} is in {folder.uri} more than once: run `emotion-ray prepare` on it again"
        )
    rank = np.argsort(order)
    frames, found = _read_tensors(folder, names, rank, len(ids))

    def column(name: str) -> np.ndarray:
        return facts[name].to_numpy()[order]

    return Clips(
        clip_id=list(ids),
        actor=column("actor").astype(np.int64),
        emotion=column("emotion").astype(np.int64),
        frames=frames,
        num_frames=column("num_frames").astype(np.int64),
        found=found,
        prepared_with=frozenset(column("prepared_with")),
    )


def _read_tensors(folder: Folder, names: list[str], rank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`frames` and `found` of all shards, row i at position rank[i]."""
    frames = found = None
    row = 0
    for name in names:
        for batch in shard_batches(folder, name, ["frames", "found"]):
            part_frames = batch["frames"].to_numpy_ndarray()
            part_found = batch["found"].to_numpy_ndarray()
            if frames is None or found is None:
                frames = np.empty((count, *part_frames.shape[1:]), np.uint8)
                found = np.empty((count, *part_found.shape[1:]), np.uint8)
            if part_frames.shape[1:] != frames.shape[1:]:
                raise EmotionRayError(
                    f"{folder.uri} holds clips of {_shape(frames)} and, in {name}, of {_shape(part_frames)}: "
                    "prepare each into a folder of its own"
                )
            ranks = rank[row : row + len(part_frames)]
            frames[ranks], found[ranks] = part_frames, part_found
            row += len(part_frames)
    assert frames is not None and found is not None
    return frames, found


def shard_batches(folder: Folder, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """A shard as record batches of one clip each.

    Raises:
        EmotionRayError: an unreadable shard, or another schema version.
    """
    # a row at a time: Parquet's uint8 are 32 bits wide while decoded, 8 rows take 100 MB more and no less time
    batches = open_shard(folder, name).iter_batches(batch_size=1, columns=columns)
    while True:
        with shard_errors(folder, name):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _shape(frames: np.ndarray) -> str:
    return f"{frames.shape[1]} frames of {frames.shape[2]}x{frames.shape[3]}"
