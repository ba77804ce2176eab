"""The command and the job that annotate videos."""

import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from face_scenes import scene
from portrait_video import portrait_video, sound_only
from rotated_video import matrix_of
from scripted_faces import full_model, small_model
from sounding_video import sounding_video

from emotion_ray.cli import main
from emotion_ray.inference import videos as videos_module
from emotion_ray.inference.best_model import best_model
from emotion_ray.inference.files import Outputs, being_written
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.inference.timeline import picture
from emotion_ray.models.store import save_model
from emotion_ray.vision.video import Video

pytestmark = pytest.mark.usefixtures("one_thread")

JOB = Path(__file__).parents[1] / "jobs" / "online_inference.py"


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one `predict` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(["predict", *map(str, arguments)])
        except SystemExit as exit:
            code = exit.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A root with three models in its store."""
    folder = tmp_path_factory.mktemp("root")
    for name, architecture, metrics in (
        ("worse", "lstm", {"uar": 0.3}),
        ("better", "attention", {"uar": [0.6, 0.5, 0.7]}),
        ("unmeasured", "lstm", {}),
    ):
        loaded = small_model(architecture, metrics=metrics)
        save_model(folder / "models", name, loaded.model.state_dict(), loaded.record)
    return folder


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """The working directory, with two takes."""
    monkeypatch.chdir(tmp_path)
    Path("take.mp4").write_bytes(portrait_video(12))
    Path("other.mp4").write_bytes(portrait_video(10, shift=3))
    return tmp_path


def names(folder: Path | str = ".") -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def test_a_video_is_annotated_beside_the_working_directory(work, root):
    code, out, err = run("take.mp4", "--root", root)
    assert code == 0, err
    assert names() == {"take.mp4", "other.mp4", "take_annotated.mp4", "take_timeline.jsonl", "take_timeline.png"}
    assert Path("take.mp4").read_bytes() == portrait_video(12)
    assert "model better" in out
    assert "take_annotated.mp4" in out
    with av.open("take_annotated.mp4") as written, av.open("take.mp4") as source:
        stream = written.streams.video[0]
        assert (stream.width, stream.height) == (320, 240)
        assert stream.average_rate == source.streams.video[0].average_rate
        pairs = list(zip(written.decode(video=0), source.decode(video=0), strict=True))
    assert len(pairs) == 12
    before, after = (picture.to_ndarray(format="rgb24").astype(int) for picture in pairs[5][::-1])
    assert (np.abs(before - after).max(axis=2) > 60).mean() > 0.02
    [line] = Path("take_timeline.jsonl").read_text().splitlines()
    assert json.loads(line)["early"] is True
    assert cv2.imread("take_timeline.png") is not None


@pytest.mark.slow
def test_json_tells_all_of_it(work, root):
    code, out, _ = run("take.mp4", "other.mp4", "--root", root, "--json", "--out", "made", "--timeline", "csv")
    assert code == 0
    told = json.loads(out)
    assert (told["model"], told["problems"]) == ("better", [])
    first, second = told["videos"]
    assert first["video"] == "take.mp4"
    assert (first["frames"], second["frames"]) == (12, 10)
    assert sum(first["faces"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    [row] = csv.DictReader(Path(first["timeline"]).read_text().splitlines())
    assert row["label"] == first["faces"][0]["label"]
    assert names("made") == {
        Path(one[key]).name for one in told["videos"] for key in ("annotated", "timeline", "picture")
    }


def test_what_is_there_is_replaced_only_by_force(work, root):
    Path("take_annotated.mp4").write_text("mine")
    code, _, err = run("take.mp4", "--root", root)
    assert (code, err) == (
        1,
        "emotion-ray: take_annotated.mp4 is there already: give --force to replace it, or another folder with --out\n",
    )
    assert Path("take_annotated.mp4").read_text() == "mine"
    assert names() == {"take.mp4", "other.mp4", "take_annotated.mp4"}
    assert run("take.mp4", "--root", root, "--force")[0] == 0
    assert Path("take_annotated.mp4").stat().st_size > 1000


def test_no_force_replaces_a_video_that_is_read(work, root):
    Path("take_annotated.mp4").write_bytes(portrait_video(10))
    code, _, err = run("take.mp4", "take_annotated.mp4", "--root", root, "--force")
    assert code == 1
    assert "take_annotated.mp4 is a video to be read" in err
    assert Path("take_annotated.mp4").read_bytes() == portrait_video(10)
    assert "take_annotated_annotated.mp4" in names()


def test_one_bad_file_does_not_stop_the_others(work, root):
    Path("text.mp4").write_text("this is a text")
    Path("empty.mp4").touch()
    Path("sound.mp4").write_bytes(sound_only())
    code, out, err = run("text.mp4", "empty.mp4", "missing.mp4", "sound.mp4", "take.mp4", "--root", root)
    assert code == 1
    lines = [line for line in err.splitlines() if line.strip()]
    for line, says in zip(
        lines,
        ["text.mp4 is no video", "empty.mp4 is empty", "missing.mp4 can't be read", "sound.mp4 has no video", "4 of 5"],
        strict=True,
    ):
        assert line.startswith("emotion-ray: ")
        assert says in line
    assert "take_annotated.mp4" in out
    assert not {name for name in names() if name.startswith((".", "text_", "empty_", "sound_"))}


def test_one_bad_file_alone_is_one_line(work, root):
    Path("text.mp4").write_text("this is a text")
    code, out, err = run("text.mp4", "--root", root)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_sound_comes_along(work, root):
    Path("sounding.mp4").write_bytes(sounding_video(height=96, width=128))
    assert run("sounding.mp4", "--root", root)[0] == 0
    with av.open("sounding_annotated.mp4") as made:
        [sound] = made.streams.audio
        heard = np.concatenate([frame.to_ndarray() for frame in made.decode(sound)], axis=1)[0]
    assert heard.shape[0] / sound.rate == pytest.approx(1.0, abs=0.12)
    assert np.abs(heard).max() > 0.05


@pytest.mark.slow
def test_a_video_from_a_phone_held_upright_stays_so(work, root):
    Path("turned.mp4").write_bytes(matrix_of(portrait_video(5), 0, 1, -1, 0))
    assert run("turned.mp4", "--root", root)[0] == 0
    with Video(Path("turned_annotated.mp4").read_bytes(), "x") as made:
        shapes = {frame.rgb.shape for frame in made.frames()}
    assert shapes == {(320, 240, 3)}


@pytest.mark.slow
def test_names_that_can_not_be_used_leave_the_others_alone(work, root):
    Path("all").mkdir()
    Path("take.mp4").rename("all/take.mp4")
    Path("all", "l" * 245 + ".mp4").write_bytes(portrait_video(3))  # its table's name would be too long
    Path(os.fsdecode(b"all/M\xfcnchen.mp4")).write_bytes(portrait_video(3))
    code, out, err = run("all", "--root", root)
    assert code == 1
    assert "take_annotated.mp4" in out
    assert "all/M\\xfcnchen.mp4: its name is not in UTF-8; rename it" in err
    assert "File name too long: give it another name, or another --out" in err


def test_a_pipe_is_not_waited_for(work, root):
    os.mkfifo("pipe.mp4")
    code, _, err = run("pipe.mp4", "--root", root)
    assert (code, err) == (1, "emotion-ray: pipe.mp4 is not a file: check the path\n")


@pytest.mark.slow
def test_folders_are_gone_through(work, root):
    Path("videos/deep").mkdir(parents=True)
    Path("take.mp4").rename("videos/take.mp4")
    Path("other.mp4").rename("videos/deep/take.mp4")
    Path("videos/old_annotated.mp4").write_bytes(portrait_video(3))
    Path("videos/notes.txt").write_text("no video")
    assert run("videos", "--root", root, "--out", "made")[0] == 0
    made = {str(path.relative_to("made")) for path in Path("made").rglob("*.mp4")}
    assert made == {"take_annotated.mp4", "deep/take_annotated.mp4"}
    code, _, err = run("videos/deep", "videos/notes.txt", "--root", root, "--out", "more")
    assert code == 1
    assert "notes.txt is no video" in err
    Path("nothing").mkdir()
    assert "no video in nothing" in run("nothing", "--root", root)[2]


def test_a_folder_that_can_not_be_read_is_one_line(work, root, monkeypatch):
    Path("videos/locked").mkdir(parents=True)
    Path("take.mp4").rename("videos/take.mp4")
    scandir = os.scandir

    def locked(path):  # root reads every folder, so no mode would refuse it
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    code, _, err = run("videos", "--root", root)
    assert (code, err) == (1, "emotion-ray: can't look into videos/locked: Permission denied\n")
    assert not list(Path().glob("*_annotated.mp4"))


@pytest.mark.parametrize("name", ["file", "folder"])
def test_a_path_that_can_not_be_looked_at_is_one_line(work, root, monkeypatch, name):
    def locked(path, **more):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir" if name == "file" else "is_file", locked)
    code, _, err = run("take.mp4" if name == "file" else ".", "--root", root)
    assert code == 1 and err.count("\n") == 1
    assert re.match(r"emotion-ray: can't look into .*\.mp4: Permission denied", err)


def test_two_videos_never_become_one_file(work, root):
    Path("a").mkdir()
    Path("a/take.mp4").write_bytes(portrait_video(10))
    code, _, err = run("take.mp4", "a/take.mp4", "--root", root, "--force")
    assert code == 1
    assert "a/take.mp4 would become take_annotated.mp4 as another does" in err


@pytest.mark.slow
def test_a_cut_off_file_gives_what_it_has_and_says_so(work, root):
    content = portrait_video(60)
    Path("cut.mp4").write_bytes(content[: len(content) // 2])
    code, out, _ = run("cut.mp4", "--root", root)
    assert code == 0
    assert "cut off after" in out


def test_an_empty_store_says_where_models_come_from(work):
    code, _, err = run("take.mp4", "--root", "nothing-here")
    assert code == 1
    assert "there is no model in nothing-here/models: `emotion-ray train` makes one" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "worse", "--architecture", "attention"], "worse is a model of type lstm, not attention"),
        (["--model", "no-such-model"], "there is no model 'no-such-model'"),
        (["--stride", "0"], "stride is 0"),
        (["--early", "0"], "early is 0"),
        (["--camera", "0"], "not both"),
        (["--camera", "-1"], "camera is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(work, root, arguments, says):
    code, _, err = run("take.mp4", "--root", root, *arguments)
    assert code == 1
    assert says in err
    assert names() == {"take.mp4", "other.mp4"}


def test_neither_videos_nor_a_camera_is_refused(root):
    code, _, err = run("--root", root)
    assert code == 1
    assert "give videos" in err


def test_the_best_model_is_that_of_the_highest_uar_and_of_equal_ones_the_newest():
    records = {
        "interval": small_model(metrics={"uar": [0.5, 0.1, 0.9]}, created="2026-01-01").record,
        "same": small_model(metrics={"uar": 0.5}, created="2026-01-02").record,
        "lower": small_model(metrics={"uar": 0.4}, created="2026-01-03").record,
        "unknown": small_model(created="2026-01-04").record,
        "absurd": small_model(metrics={"uar": 10**400}, created="2026-01-05").record,
    }
    assert best_model(records) == "same"
    assert best_model({"unknown": records["unknown"]}) == "unknown"
    assert best_model({}) is None


def test_stopped_by_ctrl_c_no_half_file_is_left(work, root, monkeypatch):
    def stopped(analysis):
        raise KeyboardInterrupt

    monkeypatch.setattr(videos_module, "picture", stopped)
    code, _, err = run("take.mp4", "other.mp4", "--root", root)
    assert code == 130
    assert "0 of 2 videos are done" in err
    assert names() == {"take.mp4", "other.mp4"}


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_video_leaves_nothing(work, root):
    Path("long.mp4").write_bytes(portrait_video(600))
    command = [sys.executable, "-m", "emotion_ray.cli", "predict", "long.mp4", "--root", str(root)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 40
    while not any(name.endswith(".part") for name in names()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert any(name.endswith(".part") for name in names())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert names() == {"take.mp4", "other.mp4", "long.mp4"}


class FakeCamera:
    """Stands in for `cv2.VideoCapture`: some pictures of a face, then none."""

    def __init__(self, pictures: int = 8, opened: bool = True):
        self._left = pictures
        self._opened = opened

    def isOpened(self) -> bool:  # noqa: N802 (cv2's name)
        return self._opened

    def get(self, _: int) -> float:
        return 0.0

    def read(self):
        self._left -= 1
        return (True, scene((1, 200, 170))[:, :, ::-1].copy()) if self._left >= 0 else (False, None)

    def release(self) -> None:
        pass


@pytest.mark.slow
def test_a_camera_is_recorded(work, root, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCamera())
    code, out, err = run("--camera", 3, "--root", root)
    assert code == 0, err
    assert "face 1" in out
    with av.open("camera3_annotated.mp4") as written:
        assert len(list(written.decode(video=0))) == 8
    assert {"camera3_timeline.jsonl", "camera3_timeline.png"} <= names()


@pytest.mark.slow
def test_ctrl_c_ends_a_recording_between_two_frames_and_keeps_it(work, root, monkeypatch):
    camera, push = FakeCamera(1000), EmotionStream.push

    def interrupted(self, frames, times):
        if camera._left == 1000 - 3:  # within the third frame
            signal.raise_signal(signal.SIGINT)
        return push(self, frames, times)

    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera)
    monkeypatch.setattr(EmotionStream, "push", interrupted)
    before = signal.getsignal(signal.SIGINT)
    code, _, err = run("--camera", 0, "--root", root)
    assert code == 0, err
    assert signal.getsignal(signal.SIGINT) is before
    with av.open("camera0_annotated.mp4") as written:
        assert len(list(written.decode(video=0))) == 3


def test_what_nobody_expects_of_a_video_does_not_stop_the_others(work, root, monkeypatch):
    def failing(analysis):
        if analysis.name == "take.mp4":
            raise OverflowError("Python int too large")
        return picture(analysis)

    monkeypatch.setattr(videos_module, "picture", failing)
    code, _, err = run("take.mp4", "other.mp4", "--root", root)
    assert code == 1
    assert "take.mp4: OverflowError: Python int too large" in err
    assert {name for name in names() if name.endswith(".mp4")} == {"take.mp4", "other.mp4", "other_annotated.mp4"}


def test_two_runs_write_one_output_each_by_itself(tmp_path):
    outputs = Outputs.named(tmp_path, "take", "jsonl")
    with being_written(outputs, force=True) as first, being_written(outputs, force=True) as second:
        assert not set(first.all) & set(second.all)


@pytest.mark.parametrize(
    ("camera", "says"), [(FakeCamera(opened=False), "camera 0 can't be opened"), (FakeCamera(0), "gives no picture")]
)
def test_a_camera_that_is_not_there_is_told(work, root, monkeypatch, camera, says):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera)
    code, _, err = run("--camera", 0, "--root", root)
    assert code == 1
    assert says in err
    assert names() == {"take.mp4", "other.mp4"}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_the_job_takes_the_flags_and_files_of_the_baseline(work, architecture):
    torch.save(full_model(architecture).model.state_dict(), "weights.pth")
    flags = ["--video", "take.mp4", "--model_type", architecture, "--model_path", "weights.pth"]
    done = subprocess.run([sys.executable, JOB, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "take_annotated.mp4" in names()
    other = "lstm" if architecture == "attention" else "attention"
    refused = subprocess.run([sys.executable, JOB, *flags[:3], other, *flags[4:]], capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"weights.pth is a model of type {architecture}, not {other}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_model_in_nobody_s_home_is_one_line(work):
    flags = ["--video", "take.mp4", "--model_type", "lstm", "--model_path", "~nobody-here/m.pth"]
    done = subprocess.run([sys.executable, JOB, *flags], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no model" in done.stderr and "~nobody-here/m.pth" in done.stderr
