"""A picture of a folder of clips: a face for each emotion of each actor, to look at before training."""

from pathlib import Path

import cv2
import numpy as np

from emotion_ray.data.clips import ROWS_PER_GROUP, open_shard, read_shard, shard_errors, shard_names
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.storage import Folder

CONTACT_SHEET = "contact_sheet.png"
CELL, GAP, MARGIN, HEADER = 64, 4, 96, 28  # px
INK, PAPER = (40, 40, 40), 255
MOST_ACTORS = 100  # more is nothing to look at


def write_contact_sheet(folder: Folder) -> None:
    """Publishes `contact_sheet.png`: actors down (100 at most), emotions across, the first clip's middle frame in each.

    Raises:
        EmotionRayError: an unreadable shard, or the folder can't be written.
    """
    faces = _first_faces(folder)
    actors = sorted({actor for actor, _ in faces})[:MOST_ACTORS]
    sheet = np.full((HEADER + len(actors) * (CELL + GAP), MARGIN + len(EMOTIONS) * (CELL + GAP), 3), PAPER, np.uint8)
    for column, emotion in enumerate(EMOTIONS):
        _write(sheet, emotion, MARGIN + column * (CELL + GAP), HEADER - 10)
    for row, actor in enumerate(actors):
        top = HEADER + row * (CELL + GAP)
        _write(sheet, f"actor {actor}", 8, top + CELL // 2 + 4)
        for column in range(len(EMOTIONS)):
            face = faces.get((actor, column))
            if face is not None:
                left = MARGIN + column * (CELL + GAP)
                resized = cv2.resize(face, (CELL, CELL), interpolation=cv2.INTER_AREA)
                sheet[top : top + CELL, left : left + CELL] = resized
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    folder.publish(CONTACT_SHEET, encoded.tobytes())


def _first_faces(folder: Folder) -> dict[tuple[int, int], np.ndarray]:
    """The middle frame, uint8 [S, S, 3], of the first clip of each actor and emotion; reads few of the crops."""
    faces: dict[tuple[int, int], np.ndarray] = {}
    names = shard_names(folder)
    folders = {name: Path(name).parent.name for name in names}  # Actor_XX
    shown = sorted(set(folders.values()), key=lambda one: (len(one), one))[:MOST_ACTORS]
    for name in (name for name in names if folders[name] in shown):
        shard = open_shard(folder, name)
        facts = read_shard(folder, name, ["actor", "emotion", "num_frames"]).to_pylist()
        for row, clip in enumerate(facts):
            key = (clip["actor"], clip["emotion"])
            if key not in faces:
                group, within = divmod(row, ROWS_PER_GROUP)
                with shard_errors(folder, name):
                    frames = shard.read_row_group(group, columns=["frames"])["frames"].chunk(0).to_numpy_ndarray()
                faces[key] = frames[within, clip["num_frames"] // 2]
    return faces


def _write(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
