from dataclasses import replace

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from noise_clip import noise_clip

from emotion_ray.data.clips import write_shards
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.vision.contact_sheet import CELL, CONTACT_SHEET, GAP, HEADER, MARGIN, MOST_ACTORS, write_contact_sheet


def flat(clip_id: str, actor: int, emotion: int, grey: int, num_frames: int = 4):
    """A clip whose middle real frame is of one grey and whose other frames are black."""
    clip = noise_clip(clip_id, actor, emotion, num_frames)
    frames = np.zeros_like(clip.frames)
    frames[num_frames // 2] = grey
    return replace(clip, frames=frames)


def sheet(folder: Folder) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(folder.read(CONTACT_SHEET), np.uint8), cv2.IMREAD_GRAYSCALE)


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = HEADER + row * (CELL + GAP), MARGIN + column * (CELL + GAP)
    return picture[top : top + CELL, left : left + CELL]


def test_each_face_stands_in_the_row_of_its_actor_and_the_column_of_its_emotion(tmp_path):
    folder = Folder.at(tmp_path)
    write_shards(folder, [flat("a", 3, 0, 40), flat("b", 3, 7, 80, num_frames=1), flat("c", 11, 2, 120)])
    write_contact_sheet(folder)
    picture = sheet(folder)
    assert picture.shape == (HEADER + 2 * (CELL + GAP), MARGIN + 8 * (CELL + GAP))
    faces = {(0, 0): 40, (0, 7): 80, (1, 2): 120}
    for row in range(2):
        for column in range(8):
            assert (cell(picture, row, column) == faces.get((row, column), 255)).all()


def test_a_clip_beyond_the_first_row_group_is_found(tmp_path):
    folder = Folder.at(tmp_path)
    write_shards(folder, [*(flat(f"a-{n}", 1, 0, 40) for n in range(10)), flat("z", 1, 5, 90)])
    write_contact_sheet(folder)
    assert (cell(sheet(folder), 0, 5) == 90).all()


@pytest.mark.slow
def test_many_actors_are_cut_off(tmp_path):
    folder = Folder.at(tmp_path)
    write_shards(folder, [flat(f"clip-{n}", n, 0, 40) for n in range(1, MOST_ACTORS + 3)])
    write_contact_sheet(folder)
    assert len(sheet(folder)) == HEADER + MOST_ACTORS * (CELL + GAP)


def test_it_is_the_same_each_time(tmp_path):
    folder = Folder.at(tmp_path)
    write_shards(folder, [noise_clip("a"), noise_clip("b", emotion=3)])
    write_contact_sheet(folder)
    first = folder.read(CONTACT_SHEET)
    write_contact_sheet(folder)
    assert folder.read(CONTACT_SHEET) == first


@pytest.mark.parametrize("emotion", range(8))
def test_every_emotion_has_its_name_above(tmp_path, emotion):
    folder = Folder.at(tmp_path)
    write_shards(folder, [noise_clip("a", emotion=emotion)])
    write_contact_sheet(folder)
    left = MARGIN + emotion * (CELL + GAP)
    assert (sheet(folder)[:HEADER, left : left + CELL] < 128).any()


def test_a_damaged_shard_is_named(tmp_path):
    folder = Folder.at(tmp_path)
    [name] = write_shards(folder, [noise_clip("a")])
    group = pq.ParquetFile(folder.file(name)).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    [at] = [column.data_page_offset + 500 for column in columns if column.path_in_schema.startswith("frames")]
    whole = folder.read(name)
    folder.publish(name, whole[:at] + b"other" + whole[at + 5 :])
    with pytest.raises(EmotionRayError, match=f"{name} is no readable shard"):
        write_contact_sheet(folder)
