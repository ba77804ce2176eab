import cv2
import pytest
from noise_clip import noise_clip

from emotion_ray.data.clips import write_shards
from emotion_ray.data.export import export_png
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError


def test_real_frames_become_png_by_actor_and_clip(tmp_path):
    folder = Folder.at(tmp_path / "clips")
    clips = [noise_clip("whole", actor=7), noise_clip("short", actor=12, num_frames=2)]
    write_shards(folder, clips)
    assert export_png(folder, tmp_path / "png") == 2
    written = sorted(path.relative_to(tmp_path / "png").as_posix() for path in (tmp_path / "png").rglob("*.png"))
    assert written == [f"Actor_07/whole/{n:03d}.png" for n in range(4)] + [
        f"Actor_12/short/{n:03d}.png" for n in (0, 1)
    ]
    first = cv2.imread(str(tmp_path / "png" / written[0]))[..., ::-1]
    assert (first == clips[0].frames[0]).all()


def test_more_clips_than_a_row_group(tmp_path):
    folder = Folder.at(tmp_path / "clips")
    write_shards(folder, [noise_clip(f"clip-{n:02d}", num_frames=1) for n in range(11)])
    assert export_png(folder, tmp_path / "png") == 11
    last = cv2.imread(str(tmp_path / "png" / "Actor_01" / "clip-10" / "000.png"))[..., ::-1]
    assert (last == noise_clip("clip-10", num_frames=1).frames[0]).all()


def test_a_clip_s_name_leads_nowhere_else(tmp_path):
    write_shards(Folder.at(tmp_path / "clips"), [noise_clip("../../escaped")])
    with pytest.raises(EmotionRayError, match=r"'\.\./\.\./escaped' is no clip's name"):
        export_png(Folder.at(tmp_path / "clips"), tmp_path / "a" / "png")
    assert not (tmp_path / "escaped").exists()


def test_no_clips_is_one_line(tmp_path):
    with pytest.raises(EmotionRayError, match=r"no clips in .*: run `emotion-ray prepare` first"):
        export_png(Folder.at(tmp_path), tmp_path / "png")


def test_a_place_that_cant_be_written_is_named(tmp_path):
    folder = Folder.at(tmp_path / "clips")
    write_shards(folder, [noise_clip("a")])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmotionRayError, match=r"can't write .*file/Actor_01/a"):
        export_png(folder, tmp_path / "file")
