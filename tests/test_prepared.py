import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise_clip import noise_clip

from emotion_ray.data.clips import SCHEMA_VERSION, read_clips, shard_names, write_shards
from emotion_ray.data.prepared import (
    RECORD,
    REJECTS,
    check_folder,
    check_labels,
    count_clips,
    read_held,
    read_listings,
    read_record,
    read_rejects,
    remove_owned,
    write_record,
    write_rejects,
)
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import RejectedTake, Take
from emotion_ray.errors import EmotionRayError

SETTINGS = {"detector": "track", "frames": 60, "sampling": "first", "size": 64}


def record(**changes: object) -> dict:
    versions = {"av": "18.1.0", "torch": "2.13.0"}
    whole = {"schema_version": SCHEMA_VERSION, "prepared_with": "mark", "settings": SETTINGS, "versions": versions}
    return whole | changes


@pytest.fixture
def folder(tmp_path) -> Folder:
    """One of ours, with two shards."""
    folder = Folder.at(tmp_path)
    write_shards(folder, [noise_clip("a"), noise_clip("b", actor=2)])
    write_record(folder, record(files=[*shard_names(folder), REJECTS]))
    write_rejects(folder, [])
    return folder


def test_a_new_folder_an_empty_one_and_one_of_ours_will_do(tmp_path, folder):
    check_folder(Folder.at(tmp_path / "new"), record())
    (tmp_path / "empty").mkdir()
    check_folder(Folder.at(tmp_path / "empty"), record())
    check_folder(folder, record())


@pytest.mark.parametrize(("there", "new"), [(True, False), (False, True)])
def test_clips_of_the_sample_and_others_never_share_a_folder(tmp_path, there, new):
    """Their clip_ids are the same: those of one would be taken for the other's."""
    folder = Folder.at(tmp_path)
    data = {True: {"data": {"name": "demo", "synthetic": True}}, False: {}}
    write_record(folder, record(**data[there]))
    check_folder(folder, record(**data[there]))
    with pytest.raises(EmotionRayError, match="give another --out, or --start-anew"):
        check_folder(folder, record(**data[new]))


def test_a_start_anew_leaves_no_rejects_of_a_first_run_that_was_cut_off(folder, tmp_path):
    write_record(folder, record(files=[]))
    remove_owned(folder)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [RECORD]


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for refuse in (lambda: check_folder(Folder.at(tmp_path), record()), lambda: remove_owned(Folder.at(tmp_path))):
        with pytest.raises(EmotionRayError, match=r"holds other files, such as thesis\.tex: give another --out"):
            refuse()
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(EmotionRayError, match=r"file.*is no folder"):
        check_folder(Folder.at(tmp_path / "file"), record())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": 99}, f"schema version {SCHEMA_VERSION}, this program writes 99"),
        (
            {"prepared_with": "other", "settings": SETTINGS | {"detector": "exact", "size": 32}},
            r"\(detector track, now exact, size 64, now 32\): give another --out, the same settings, or --start-anew",
        ),
        (
            {"prepared_with": "other", "versions": {"av": "19.0.0", "torch": "2.13.0"}},
            r"\(av 18\.1\.0, now 19\.0\.0\)",
        ),
        ({"prepared_with": "other"}, "by another release"),
    ],
)
def test_clips_prepared_otherwise_are_not_mixed(folder, changes, says):
    with pytest.raises(EmotionRayError, match=says) as caught:
        check_folder(folder, record(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "no json", "[]"])
def test_a_record_that_cant_be_read_is_one_line(folder, content, tmp_path):
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(EmotionRayError, match=r"prepared\.json can't be read"):
        check_folder(folder, record())


def test_clips_that_are_labelled_otherwise_are_not_gone_on_with(tmp_path):
    folder = Folder.at(tmp_path)
    write_shards(folder, [noise_clip("a", actor=3, emotion=1), noise_clip("b", actor=3, emotion=2)])

    def take(clip_id, actor, emotion):
        return Take(clip_id, actor, emotion, None, None, None, None, f"/videos/{clip_id}.mp4")

    check_labels(folder, [take("a", 3, 1), take("c", 4, 4)])
    for actor, emotion, label in ((3, 3, "actor 3, sad"), (7, 2, "actor 7, happy")):
        with pytest.raises(EmotionRayError, match=rf"the clip b of actor 3, happy, but /videos/b\.mp4 is of {label}"):
            check_labels(folder, [take("a", 3, 1), take("b", actor, emotion)])


def test_a_record_that_may_not_be_read_is_one_line(tmp_path):
    (tmp_path / RECORD).mkdir()  # root reads every file, so no mode would refuse it
    with pytest.raises(EmotionRayError, match=r"prepared\.json can't be read \(.*\): see who may read it"):
        read_record(Folder.at(tmp_path))


def test_without_a_record_nothing_is_prepared(tmp_path):
    with pytest.raises(EmotionRayError, match="holds no prepared clips"):
        read_record(Folder.at(tmp_path))
    assert read_listings(Folder.at(tmp_path)) == {}


def test_start_anew_removes_what_the_record_lists_and_nothing_else(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "shards" / "Actor_01" / "notes.txt").write_text("mine too")
    remove_owned(folder)
    assert folder.names() == ["notes.txt", RECORD, "shards/Actor_01/notes.txt"]
    assert (tmp_path / "shards" / "Actor_02").is_dir()
    check_folder(folder, record())


def test_start_anew_removes_shards_of_a_run_that_was_cut_off(folder):
    write_shards(folder, [noise_clip("c")])
    remove_owned(folder)
    assert shard_names(folder) == []


def test_start_anew_leaves_shards_of_others(folder):
    write_shards(folder, [noise_clip("c", actor=3, mark="other")])
    before = folder.names()
    with pytest.raises(EmotionRayError, match=r"Actor_03/.* was not made by this command"):
        remove_owned(folder)
    assert folder.names() == before


@pytest.mark.parametrize("name", ["../precious", "shards/../../precious", "{outside}"])
def test_a_record_cant_make_start_anew_leave_its_folder(tmp_path, name):
    outside = tmp_path / "precious"
    outside.write_text("mine")
    folder = Folder.at(tmp_path / "out")
    write_record(folder, record(files=[name.format(outside=outside)]))
    remove_owned(folder)
    assert outside.read_text() == "mine"


def test_held_and_counts(folder):
    assert sorted(read_held(folder)) == ["a", "b"]
    write_shards(folder, [noise_clip("c", actor=2, emotion=5), noise_clip("d", actor=2, emotion=5)])
    counts = count_clips(folder)
    assert list(counts) == [1, 2]
    assert counts[2] == {0: 1, 5: 2}
    assert read_held(Folder.at(f"{folder.path}/nothing")) == []


def test_a_clip_in_two_shards_is_taken_out_of_one(folder, tmp_path):
    write_shards(folder, [noise_clip("a"), noise_clip("c")])
    write_shards(folder, [noise_clip("b", actor=2)])  # the same clips again: the same shard
    assert len(shard_names(folder)) == 3
    with pytest.raises(EmotionRayError, match="more than once"):
        read_clips(folder)
    assert sorted(read_held(folder)) == ["a", "b", "c"]
    clips = read_clips(folder)
    assert clips.clip_id == ["a", "b", "c"]
    for clip_id, frames in zip(clips.clip_id, clips.frames, strict=True):
        assert (frames == noise_clip(clip_id).frames).all()
    for path in tmp_path.rglob("*.parquet"):
        assert path.name == REJECTS or b"emotion_ray.schema_version" in pq.read_schema(path).metadata


def test_a_shard_that_only_repeats_is_removed(folder):
    write_shards(folder, [noise_clip("a"), noise_clip("c")])
    write_shards(folder, [noise_clip("c")])
    assert sorted(read_held(folder)) == ["a", "b", "c"]
    assert sorted(read_clips(folder).clip_id) == ["a", "b", "c"]


def test_a_broken_shard_is_named(folder, tmp_path):
    name = shard_names(folder)[0]
    (tmp_path / name).write_bytes(b"PAR1 and no more")
    with pytest.raises(EmotionRayError, match=f"{name} is no readable shard"):
        read_held(folder)


def test_rejects_are_a_table_of_strings(folder):
    rejects = [RejectedTake("b.mp4", "b", "detect", "no_face", "b: none"), RejectedTake("a.zip", None, "x", "y", "z")]
    write_rejects(folder, rejects)
    assert read_rejects(folder) == rejects[::-1]
    with folder.filesystem.open_input_file(folder.file(REJECTS)) as file:
        assert pq.read_schema(file).names == ["source", "clip_id", "stage", "reason", "message"]
    write_rejects(folder, [])
    assert read_rejects(folder) == []


def test_a_damaged_table_of_rejects_is_one_line(folder):
    for content in (b"PAR1 and no more", _table_of_other_columns()):
        folder.publish(REJECTS, content)
        with pytest.raises(EmotionRayError, match=rf"{REJECTS} can't be read .*: remove it"):
            read_rejects(folder)


def _table_of_other_columns() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"colour": ["red"]}), sink)
    return sink.getvalue().to_pybytes()


def test_the_record_is_json_for_people(folder, tmp_path):
    text = (tmp_path / RECORD).read_text()
    assert json.loads(text)["settings"]["frames"] == 60
    assert text.endswith("}\n")
    assert text.count("\n") > 5
