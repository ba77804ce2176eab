#!/usr/bin/env python
"""Makes README's pictures, docs/pictures/, from what a demo has left, with a headless Chromium.

    emotion-ray demo --root demo/
    python benchmarks/pictures.py --root demo/

All three show the synthetic sample: takes of RAVDESS are not ours to hand on.
"""

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import tyro
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from served import serving

from emotion_ray.data.ravdess import EMOTIONS, Code, archive_name
from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.videos import chosen_model, predict_videos
from emotion_ray.sample import planned_takes
from emotion_ray.settings import PredictSettings

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
REPORT = "runs/synthetic-report/report.html"
SHOWN = ("happy", "angry")  # one take of each, by different actors, stands in the annotated picture
WIDTH, HEIGHT = 900, 960  # px of a page's picture
LARGEST = 200_000  # bytes
QUALITY = 88  # of JPEG
COLOURS = 256  # of a PNG: a third of the bytes; the rare ones, of lines and bars, count like the others


def main(root: Path, out: Path = PICTURES) -> None:
    """Makes annotated.jpg, report.png and page.png.

    Args:
        root: of a finished demo.
        out: folder of the pictures.
    """
    if not (root / REPORT).is_file():
        raise EmotionRayError(f"{root} holds no finished demo: run `emotion-ray demo --root {root}` first")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as engine, serving(root) as address:
        takes = [written(root, take, Path(scratch)) for take in two_takes()]
        cv2.imwrite(
            str(out / "annotated.jpg"), annotated(root, takes, Path(scratch)), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto((root / REPORT).absolute().as_uri())
        page.screenshot(path=out / "report.png")
        show_upload(page, address, takes[0])
        page.screenshot(path=out / "page.png")
        browser.close()
    for name in ("report.png", "page.png"):
        with Image.open(out / name) as picture:
            picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=1).save(
                out / name, optimize=True
            )
    for name in ("annotated.jpg", "report.png", "page.png"):
        size = (out / name).stat().st_size
        print(f"{out / name}: {size / 1000:.0f} kB")
        if size > LARGEST:
            raise EmotionRayError(f"{out / name} is larger than {LARGEST / 1000:.0f} kB")


def two_takes() -> list[Code]:
    """Takes of the demo's size of the sample, of the emotions `SHOWN`, strong, by actors of their own."""
    found = []
    for actor, emotion in enumerate(SHOWN, 1):
        those = [take for take in planned_takes("demo") if (take.actor, EMOTIONS[take.emotion]) == (actor, emotion)]
        found.append(max(those, key=lambda take: take.intensity))
    return found


def written(root: Path, take: Code, folder: Path) -> Path:
    """A take of the demo's archives as a file of its own."""
    path = folder / f"synthetic_{EMOTIONS[take.emotion]}.mp4"
    with zipfile.ZipFile(root / "sample" / archive_name(take.actor)) as archive:
        path.write_bytes(archive.read(take.member))
    return path


def annotated(root: Path, takes: list[Path], folder: Path) -> np.ndarray:
    """The last frames of annotated takes side by side, uint8 [H, W, 3] BGR."""
    settings = PredictSettings(root=str(root), out=str(folder / "annotated"))
    done, problems = predict_videos(settings, list(map(str, takes)), chosen_model(settings), Console(stderr=True))
    if problems:
        raise EmotionRayError(problems[0])
    frames = []
    for one in done:
        with av.open(str(one.outputs.video)) as video:
            *_, last = video.decode(video=0)
        frames.append(last.to_ndarray(format="bgr24"))
    return np.concatenate(frames, axis=1)


def show_upload(page: Page, address: str, take: Path) -> None:
    """Has the page show an uploaded take at a moment that has a prediction."""
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    page.set_input_files("#file", str(take))
    expect(page.locator("#status")).to_contain_text("1 face", timeout=60_000)
    page.evaluate("const v = document.getElementById('video'); v.pause(); v.currentTime = v.duration - 0.1")
    page.wait_for_selector("#faces li .label:not(.waiting)")
    page.wait_for_timeout(500)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
