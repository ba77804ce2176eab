import io
import json
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from noise_clip import noise_clip

from emotion_ray.cli import main
from emotion_ray.data.clips import SCHEMA_VERSION, write_shards
from emotion_ray.data.prepared import write_record
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import RejectedTake
from emotion_ray.settings import CropSettings, PrepareSettings
from emotion_ray.vision.clipping import fingerprint


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as exit:
            code = exit.code
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "--no-such-flag"],
        ["prepare", "--detector", "best"],
        ["prepare", "--frames", "many"],
        ["no-such-command"],
        ["export"],
    ],
)
def test_wrong_flags_exit_2(arguments):
    code, out, err = run(*arguments)
    assert code == 2
    assert not out
    assert err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prepare", "--actors", "25"], "--actors 25: RAVDESS has actors 1 to 24, not 25"),
        (["prepare", "--frames", "0"], "frames is 0"),
        (["prepare", "--workers", "0"], "workers is 0"),
        (["prepare", "--source", "{tmp}/missing"], "{tmp}/missing"),
        (["prepare", "--source", "{tmp}/odd.csv"], "odd.csv, line 2: the emotion 'joyful' is none of neutral"),
        (["prepare", "--base-url", "gopher://there", "--actors", "1"], "only http, https and file URLs"),
        (
            ["prepare", "--source", "{tmp}", "--base-url", "http://me:secret@[::1"],
            "--base-url is malformed",
        ),
        (["prepare", "--out", "{tmp}/odd.csv"], "is no folder"),
        (["prepare", "--out", "{tmp}"], "holds other files, such as odd.csv"),
        (["prepare", "--out", "nowhere://there"], "a folder at nowhere:// can't be opened"),
        (["predict", "take.mp4", "--model", "{tmp}/" + "m" * 300], "m: File name too long; check the path"),
        (["export", "--png", "{tmp}/png", "--clips", "{tmp}/nothing"], "no clips in {tmp}/nothing"),
    ],
)
def test_what_cant_be_done_is_one_line_and_exit_1(tmp_path, arguments, says):
    (tmp_path / "odd.csv").write_text("path,label,actor\na.mp4,joyful,1\n")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    if arguments[0] == "prepare" and "--out" not in arguments:
        given += ["--out", tmp_path / "out"]
    code, out, err = run(*given)
    assert code == 1
    assert not out
    assert err.startswith("emotion-ray: ")
    assert err.count("\n") == 1
    assert says.format(tmp=tmp_path) in err
    assert "secret" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_can_not_be_written_is_one_line():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "emotion_ray.cli", "doctor", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (
        1,
        "emotion-ray: the output can't be written (No space left on device)\n",
    )


def test_help_comes_at_once_and_without_the_heavy_packages():
    script = (
        "import sys\nfrom emotion_ray.cli import main\n"
        "try:\n    main(['prepare', '--help'])\n"
        "except SystemExit as exit:\n    assert exit.code == 0\n"
        "heavy = {'ray', 'torch', 'av', 'cv2', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "print('imported:', sorted(heavy))"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert time.monotonic() - began < 5
    assert done.stdout.endswith("imported: []\n"), done.stdout[-200:] + done.stderr
    for flag in ("--actors", "--source", "--base-url", "--out", "--cache", "--detector", "--frames", "--sampling"):
        assert flag in done.stdout
    for flag in ("--size", "--modality", "--workers", "--start-anew", "--json"):
        assert flag in done.stdout


def test_underlines_do_as_well_as_dashes(tmp_path):
    code, _, err = run("prepare", "--base_url", "gopher://there", "--out", tmp_path / "out")
    assert (code, "only http" in err) == (1, True)


def test_json_alone_goes_to_stdout(tmp_path, monkeypatch):
    calls = fake_prepare(tmp_path, monkeypatch)
    code, out, err = run("prepare", "--frames", "8", "--json")
    assert code == 0
    result = json.loads(out)
    assert (result["clips"], result["made"], result["seconds"]) == (3, 2, 4.0)
    assert result["rejects"][0]["reason"] == "no_face"
    assert "progress\nRay has something to say" in err
    assert calls == [(PrepareSettings(frames=8), False)]


def test_the_tables_show_counts_and_rejects_as_they_are_written(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    calls = fake_prepare(tmp_path, monkeypatch)
    code, out, err = run("prepare", "--start-anew")
    assert (code, err) == (0, "")
    assert calls == [(PrepareSettings(), True)]
    assert "surprised" in out
    assert "[/red]x.mp4: no face" in out
    assert "2 clips made in 4 s, 0.5 a second; 3 clips in" in out
    assert max(map(len, out.splitlines()[:8])) <= 80


def fake_prepare(tmp_path, monkeypatch) -> list:
    """Puts a stand-in in the place of the job; gives the list of what it was called with."""
    import types
    from collections import Counter

    folder = Folder.at(tmp_path / "clips")
    calls = []

    def prepare(settings, console, start_anew):
        calls.append((settings, start_anew))
        console.print("progress")
        print("Ray has something to say")
        counts = {1: Counter({0: 2}), 24: Counter({7: 1})}
        rejects = [RejectedTake("x.mp4", "x", "detect", "no_face", "[/red]x.mp4: no face")]
        return types.SimpleNamespace(folder=folder, made=2, counts=counts, rejects=rejects, seconds=4.0)

    stand_in = types.ModuleType("emotion_ray.distributed.prepare")
    stand_in.prepare = prepare
    monkeypatch.setitem(sys.modules, "emotion_ray.distributed.prepare", stand_in)
    return calls


def test_export_writes_and_counts(tmp_path):
    write_shards(Folder.at(tmp_path / "clips"), [noise_clip("a"), noise_clip("b")])
    code, out, _ = run("export", "--png", tmp_path / "png", "--clips", tmp_path / "clips")
    assert (code, out) == (0, f"2 clips written as PNG to {tmp_path / 'png'}\n")
    assert len(list((tmp_path / "png").rglob("*.png"))) == 8


def test_export_tells_it_as_json(tmp_path):
    write_shards(Folder.at(tmp_path / "clips"), [noise_clip("a")])
    code, out, err = run("export", "--png", tmp_path / "png", "--clips", tmp_path / "clips", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"clips": 1, "png": str(tmp_path / "png")}


def test_the_root_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_RAY_HOME", str(tmp_path / "home"))
    write_shards(Folder.at(tmp_path / "home" / "clips"), [noise_clip("a")])
    code, out, _ = run("export", "--png", tmp_path / "png")
    assert (code, out.split(" ")[0]) == (0, "1")


@pytest.mark.slow
def test_the_job_is_a_door_to_the_command():
    job = Path(__file__).parents[1] / "jobs" / "prepare.py"
    done = subprocess.run([sys.executable, job, "--actors", "25"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "emotion-ray: --actors 25: RAVDESS has actors 1 to 24, not 25\n"


def test_a_corrected_label_is_not_passed_over_in_silence(tmp_path):
    out = Folder.at(tmp_path / "out")
    write_shards(out, [noise_clip("a", actor=1, emotion=0)])
    record = {"schema_version": SCHEMA_VERSION, "prepared_with": fingerprint(CropSettings())}
    write_record(out, record | {"settings": {"source": "old.csv"}})
    (tmp_path / "new.csv").write_text("path,label,actor\na.mp4,happy,1\n")
    code, told, err = run("prepare", "--source", tmp_path / "new.csv", "--out", tmp_path / "out")
    assert (code, told, err.count("\n")) == (1, "", 1)
    assert "has the clip a of actor 1, neutral, but" in err
    assert "is of actor 1, happy: give another --out, another clip_id, or --start-anew" in err
