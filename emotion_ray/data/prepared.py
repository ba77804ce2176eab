"""What stands beside the shards of a folder of clips: what made them, and what could not be made."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emotion_ray.data.clips import publish_shard, read_columns, read_shard, read_shards, shard_names
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.storage import Folder, cause_of
from emotion_ray.data.takes import RejectedTake, Take
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import CropSettings

RECORD = "prepared.json"
REJECTS = "rejects.parquet"


def check_folder(folder: Folder, record: dict) -> None:
    """Makes sure that clips may go into a folder.

    Args:
        record: what is about to be written to prepared.json.

    Raises:
        EmotionRayError: it holds clips of another schema version or of other settings, of the synthetic sample where
            others are to come or the other way round (their clip_ids are alike), or something else.
    """
    if not _is_ours(folder):
        return
    there = read_record(folder)
    if there.get("schema_version") != record["schema_version"]:
        raise EmotionRayError(
            f"{folder.uri} holds clips of schema version {there.get('schema_version')}, "
            f"this program writes {record['schema_version']}: give another --out, or --start-anew"
        )
    if there.get("prepared_with") != record["prepared_with"]:
        raise EmotionRayError(
            f"{folder.uri} holds clips prepared otherwise ({_difference(there, record)}): "
            "give another --out, the same settings, or --start-anew"
        )
    if _is_synthetic(there) != _is_synthetic(record):
        held, new = ("the synthetic sample", "others") if _is_synthetic(there) else ("other data", "the sample's")
        raise EmotionRayError(f"{folder.uri} holds clips of {held}, not {new}: give another --out, or --start-anew")


def _is_synthetic(record: dict) -> bool:
    data = record.get("data")
    return isinstance(data, dict) and bool(data.get("synthetic"))


def _is_ours(folder: Folder) -> bool:
    """Whether a folder has a record; without one it must be empty."""
    if folder.exists(RECORD):
        return True
    if names := folder.names():
        raise EmotionRayError(f"{folder.uri} holds other files, such as {names[0]}: give another --out")
    return False


def _difference(there: dict, record: dict) -> str:
    """What differs between two records, of all that changes pixels."""
    pixels = [("settings", one.name) for one in fields(CropSettings)] + [("versions", "av"), ("versions", "torch")]
    pairs = [(name, there.get(part, {}).get(name), record[part][name]) for part, name in pixels]
    return ", ".join(f"{name} {old}, now {new}" for name, old, new in pairs if old != new) or "by another release"


def remove_owned(folder: Folder) -> None:
    """Removes what earlier runs made in a folder, for a start anew. No folder and no other file is touched.

    These are the files that prepared.json lists, and the shards that tell that they were prepared with its
    settings: a run that was cut off had not listed them yet. The record itself stays, until the next one takes
    its place.

    Raises:
        EmotionRayError: the folder is not ours, or other shards are among its shards.
    """
    if not _is_ours(folder):
        return
    record = read_record(folder)
    listed = [name for name in record.get("files", []) if ".." not in Path(name).parts and name != RECORD]
    unlisted = [name for name in shard_names(folder) if name not in listed]
    for name in unlisted:
        marks = read_shard(folder, name, ["prepared_with"])["prepared_with"].unique().to_pylist()
        if marks != [record.get("prepared_with")]:
            raise EmotionRayError(f"{folder.uri}/{name} was not made by this command: move it, or give another --out")
    for name in {*listed, *unlisted, REJECTS}:  # a first run that was cut off may have left rejects unlisted
        folder.remove(name)


def read_record(folder: Folder) -> dict:
    """The content of prepared.json.

    Raises:
        EmotionRayError: it is not there or can't be read.
    """
    try:
        record = json.loads(folder.read(RECORD))
    except FileNotFoundError:
        raise EmotionRayError(f"{folder.uri} holds no prepared clips: run `emotion-ray prepare` first") from None
    except OSError as error:
        raise EmotionRayError(f"{folder.uri}/{RECORD} can't be read ({cause_of(error)}): see who may read it") from None
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise EmotionRayError(f"{folder.uri}/{RECORD} can't be read: give another --out")
    return record


def sources_of(record: dict) -> list[dict[str, str]]:
    """Where a folder's clips came from, each `source` and `base_url` once; an older record knows the last alone."""
    settings = record.get("settings", {})
    first = [{"source": settings["source"], "base_url": settings.get("base_url")}] if "source" in settings else []
    return record.get("sources", first)


def write_record(folder: Folder, record: dict) -> None:
    folder.publish(RECORD, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")


def read_listings(folder: Folder) -> dict[str, dict]:
    """What each archive prepared into the folder was found to hold; see `Plan.note_listing`."""
    return read_record(folder).get("archives", {}) if folder.exists(RECORD) else {}


def read_held(folder: Folder) -> list[str]:
    """The clip_ids in a folder, each once. A clip found in two shards is taken out of the second.

    Such a pair is left when a run is killed and its last writers live on for a moment beside the next run;
    both copies are the same.

    Raises:
        EmotionRayError: a shard can't be read or written.
    """
    held: dict[str, None] = {}
    names = shard_names(folder)
    for name, shard in zip(names, read_shards(folder, names, ["clip_id"]), strict=True):
        ids = shard["clip_id"].to_pylist()
        doubles = [clip_id for clip_id in ids if clip_id in held]
        if doubles:
            _take_out(folder, name, doubles)
        held.update(dict.fromkeys(ids))
    return list(held)


def check_labels(folder: Folder, takes: Iterable[Take]) -> None:
    """Makes sure that takes which a folder has clips of are labelled as these: going on would leave the old labels.

    Raises:
        EmotionRayError: one is not, or a shard can't be read.
    """
    wanted = {take.clip_id: take for take in takes}
    names = shard_names(folder) if wanted else []
    for name, shard in zip(names, read_shards(folder, names, ["clip_id", "actor", "emotion"]), strict=True):
        for clip_id, actor, emotion in zip(*(shard[column].to_pylist() for column in shard.column_names), strict=True):
            take = wanted.get(clip_id)
            if take is not None and (take.actor, take.emotion) != (actor, emotion):
                raise EmotionRayError(
                    f"{folder.uri}/{name} has the clip {clip_id} of actor {actor}, {EMOTIONS[emotion]}, but "
                    f"{take.source} is of actor {take.actor}, {EMOTIONS[take.emotion]}: give another --out, another "
                    "clip_id, or --start-anew"
                )


def count_clips(folder: Folder) -> dict[int, Counter]:
    """How many clips a folder holds, by actor, ascending, and then by emotion 0..7."""
    facts = read_columns(folder, ["actor", "emotion"])
    counts: dict[int, Counter] = {}
    groups = facts.group_by(["actor", "emotion"]).aggregate([([], "count_all")])
    for group in groups.sort_by([("actor", "ascending"), ("emotion", "ascending")]).to_pylist():
        counts.setdefault(group["actor"], Counter())[group["emotion"]] = group["count_all"]
    return counts


def _take_out(folder: Folder, name: str, clip_ids: list[str]) -> None:
    table = read_shard(folder, name)
    rest = table.filter(pc.invert(pc.is_in(table["clip_id"], pa.array(clip_ids))))
    if not len(rest):
        folder.remove(name)
        return
    publish_shard(folder, name, rest)


def read_rejects(folder: Folder) -> list[RejectedTake]:
    """The rows of the rejects table; none where there is no table.

    Raises:
        EmotionRayError: it can't be read.
    """
    if not folder.exists(REJECTS):
        return []
    try:
        with folder.filesystem.open_input_file(folder.file(REJECTS)) as file:
            return [RejectedTake(**row) for row in pq.read_table(file).to_pylist()]
    except (pa.ArrowException, OSError, TypeError) as error:
        raise EmotionRayError(
            f"{folder.uri}/{REJECTS} can't be read ({cause_of(error)}): remove it, and its takes are looked at again"
        ) from None


def write_rejects(folder: Folder, rejects: Iterable[RejectedTake]) -> None:
    """Publishes the rejects table, sorted by source, all columns strings."""
    rows = [asdict(reject) for reject in sorted(rejects, key=lambda reject: reject.source)]
    schema = pa.schema([(one.name, pa.string()) for one in fields(RejectedTake)])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    folder.publish(REJECTS, sink.getvalue())
