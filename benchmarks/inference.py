#!/usr/bin/env python
"""How fast the engine is, against the plain way to do the same, and how much of that the service keeps.

    python benchmarks/inference.py --json inference.json --page results/benchmarks/inference.md

An original 720p RAVDESS take, decoding included. Each form runs in a process of its own, pinned to one core; the
processes take turns; what is compared are medians over the rounds. The plain way is what people do today:
facenet-pytorch's `MTCNN().detect` on each frame, and from the 60th frame on the whole window through the model
again at each frame. The engine predicts every 10 frames, as by default; at every frame it is measured too.

The service, on Ray Serve with its client on the same machine, is measured by `service.py`.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import tyro
from asked import Target
from machine import facts, made_by

from emotion_ray.real_clips import real_clips

TAKE = "01/sample_02.mp4"  # the one in which detecting takes longest
MODELS = ("lstm", "attention")
FORMS = ("plain", "engine", "engine_every_frame")
WINDOW = 60  # frames
TARGETS = {
    "engine_vs_plain": Target("the plain way's time by the engine's, the smaller of both models'", 20),
    "engine_fps": Target("frames a second of the engine on one core, the smaller of both models'", 30),
    "service_latency_vs_engine": Target("time of an upload by the engine's", 1.3, smaller=True),
    "service_vs_fastapi_throughput": Target("videos a second of the service by those of a plain FastAPI app", 10),
}
"""What each ratio says, and the figure it must reach."""


@dataclass(frozen=True)
class Arguments:
    """What to measure and where to write it."""

    json: Path | None = None
    """File for the figures."""
    page: Path | None = None
    """File for the page."""
    rounds: int = 3
    """Times that each form is measured."""
    measure: tuple[str, str] | None = None
    """Measure one form with one model in this process and print it: what the benchmark calls itself with."""


def measure(form: str, model: str) -> float:
    """Milliseconds a frame, on this process's one core, after some frames that warm it up."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    run = _plain(model) if form == "plain" else _engine(model, stride=1 if form == "engine_every_frame" else 10)
    content = real_clips()[TAKE].read_bytes()
    run(content, 8)
    began = time.perf_counter()
    frames = run(content, None)
    return (time.perf_counter() - began) / frames * 1e3


def _plain(model: str) -> Callable[[bytes, int | None], int]:
    import av
    import cv2
    from original_mtcnn import original_mtcnn
    from plain_models import PlainAttention, PlainLSTM

    mtcnn = original_mtcnn()
    classifier = {"lstm": PlainLSTM, "attention": PlainAttention}[model]().eval()

    @torch.no_grad()
    def run(content: bytes, most: int | None) -> int:
        window: deque[torch.Tensor] = deque(maxlen=WINDOW)
        count = 0
        with av.open(io.BytesIO(content)) as container:
            for picture in container.decode(video=0):
                frame = picture.to_ndarray(format="rgb24")
                boxes, _ = mtcnn.detect(frame)
                x0, y0, x1, y1 = (int(max(edge, 0)) for edge in boxes[0])
                crop = cv2.resize(frame[y0:y1, x0:x1], (64, 64), interpolation=cv2.INTER_AREA)
                window.append(torch.from_numpy(crop).permute(2, 0, 1).float() / 255)
                if len(window) == WINDOW:
                    torch.softmax(classifier(torch.stack(tuple(window))[None]), dim=1)
                count += 1
                if count == most:
                    break
        return count

    return run


def _engine(model: str, stride: int) -> Callable[[bytes, int | None], int]:
    from emotion_ray.allocator import keep_freed_memory
    from emotion_ray.data.ravdess import EMOTIONS
    from emotion_ray.inference.analysis import analyse
    from emotion_ray.inference.stream import EmotionStream
    from emotion_ray.models.architectures import SIZES, build
    from emotion_ray.models.record import ModelRecord
    from emotion_ray.models.store import LoadedModel
    from emotion_ray.vision.mtcnn import MTCNN

    keep_freed_memory()
    mtcnn = MTCNN()
    sizes = SIZES[model]()
    classifier = build(model, sizes, WINDOW, 64, len(EMOTIONS)).eval()
    loaded = LoadedModel(model, classifier, ModelRecord(model, sizes, WINDOW, 64, EMOTIONS))

    def run(content: bytes, most: int | None) -> int:
        count = 0
        for count, _ in enumerate(analyse(content, TAKE, EmotionStream(mtcnn, loaded, stride)), start=1):
            if count == most:
                break
        return count

    return run


def compare_forms(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds a frame of each form with each model: medians over the rounds."""
    found: dict[str, dict[str, list[float]]] = {model: {form: [] for form in FORMS} for model in MODELS}
    for _ in range(rounds):
        for model in MODELS:
            for form in FORMS:
                found[model][form].append(_in_a_process(form, model))
    return {model: {form: median(values) for form, values in forms.items()} for model, forms in found.items()}


def _in_a_process(form: str, model: str) -> float:
    command = [sys.executable, __file__, "--measure", form, model]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def ratios(forms: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        "engine_vs_plain": min(of_model["plain"] / of_model["engine"] for of_model in forms.values()),
        "engine_fps": min(1e3 / of_model["engine"] for of_model in forms.values()),
    }


def page(result: dict) -> str:
    """The figures as a page in Markdown."""
    lines = [
        "# Inference: speed",
        "",
        made_by("inference.py", result, "inference"),
        "",
        *__doc__.strip().split("\n\n", 2)[-1].splitlines(),
        "",
        "| ratio | asked | got | |",
        "|---|---|---|---|",
    ]
    for name, value in result["ratios"].items():
        lines.append(TARGETS[name].row(value))
    lines += ["", "| ms a frame | " + " | ".join(MODELS) + " |", "|---" * (1 + len(MODELS)) + "|"]
    for form in FORMS:
        told = " | ".join(f"{result['ms_a_frame'][model][form]:.1f}" for model in MODELS)
        lines.append(f"| {form.replace('_', ' ')} | {told} |")
    return "\n".join(lines) + "\n"


def main(arguments: Arguments) -> None:
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    forms = compare_forms(arguments.rounds)
    result = {**facts(), "ms_a_frame": forms, "ratios": ratios(forms)}
    for name, value in result["ratios"].items():
        TARGETS[name].judge(value)
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "service.json"
        subprocess.run([sys.executable, Path(__file__).parent / "service.py", "--json", figures], check=True)
        result["service"] = json.loads(figures.read_text())
    result["ratios"] |= result["service"].pop("ratios")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.page:
        arguments.page.write_text(page(result))


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
