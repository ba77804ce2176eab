#!/usr/bin/env python3
"""Whether the synthetic sample is as hard as it should be: learnt by both models, but from motion alone.

    python benchmarks/sample_difficulty.py [--json PATH] [--page PATH] [--seeds 3] [--device cpu]

Its ten trainings take half an hour on two fast cores and two hours on slow ones, so `make prove` shows what it last
found. Each that has ended is kept in --records, with its commit and hardware, and is not run again: who changes the
sample's version, or how models are trained, has all of them run anew by removing that file. Each line says what was
asked and what was got; the exit status is 1 where one falls short.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from asked import MISS, line
from machine import facts, made_by
from scipy.stats import binom
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.archives import Member, list_members, read_member
from emotion_ray.data.clips import Clips
from emotion_ray.data.ravdess import EMOTIONS, Code
from emotion_ray.data.splits import actor_splits, random_split
from emotion_ray.learning.loop import fit, new_model
from emotion_ray.sample import SIZES, build_sample
from emotion_ray.sample.render import VERSION
from emotion_ray.sample.takes import Size
from emotion_ray.settings import TrainSettings
from emotion_ray.vision.faces import FaceFollower
from emotion_ray.vision.mtcnn import MTCNN
from emotion_ray.vision.video import Video

RESULTS = Path(__file__).parents[1] / "results" / "benchmarks"
FRAMES = 60
LEAST = {"lstm": 0.80, "attention": 0.70}
MOST = 0.97
PROBE_MOST = 0.30
CHANCE = 1 / len(EMOTIONS)
LEARNT = 0.25  # a model that stays below it has learnt nothing: what it says of other actors is no question then


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--page", type=Path, help="and here, as a page of Markdown")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each model (3)")
    parser.add_argument("--threads", type=int, default=2, help="threads PyTorch trains with (2)")
    parser.add_argument("--device", default="cpu", help="where it trains: cpu or cuda (cpu)")
    parser.add_argument("--scratch", type=Path, help="keep the samples that are rendered in this folder")
    parser.add_argument("--records", type=Path, help="the trainings that have ended (sample_trainings_DEVICE.jsonl)")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    records = Records(options.records or RESULTS / f"sample_trainings_{options.device}.jsonl")
    seeds = range(options.seeds)
    figures: dict[str, float | list[float]] = {}
    lines: list[str] = []

    def check(name: str, what: str, value: float | list[float], low: float | None, high: float | None) -> None:
        figures[name] = value
        values = np.atleast_1d(value)
        within = (low is None or (values >= low).all()) and (high is None or (values <= high).all())
        bounds = [f">= {low:.3g}" if low is not None else "", f"<= {high:.3g}" if high is not None else ""]
        got = ", ".join(f"{value:.3f}" for value in values)
        lines.append(line(bool(within), what, " and ".join(filter(None, bounds)), got))

    with nullcontext(options.scratch) if options.scratch else tempfile.TemporaryDirectory() as scratch:
        samples = {size: clips_of(Path(scratch) / size, size) for size in SIZES}
    for size, (clips, found) in samples.items():
        check(f"faces_{size}", f"{size}: frames in which MTCNN finds the face", found, 1.0, None)
        views = {"mean": clips.frames.mean(axis=1, dtype=np.float32), "first": clips.frames[:, 0].astype(np.float32)}
        for view, pictures in views.items():
            accuracy = float(np.mean([probe_accuracy(pictures, clips.emotion, seed) for seed in range(10)]))
            what = f"{size}: logistic regression on the {view} picture, mean of 10 random splits"
            check(f"probe_{view}_{size}", what, accuracy, None, PROBE_MOST)

    clips, _ = samples["full"]
    for model, least in LEAST.items():
        accuracies = [
            records.accuracy(f"{model}, random split, seed {seed}", random_accuracy, model, clips, seed, options.device)
            for seed in seeds
        ]
        check(f"{model}_random", f"full: {model}, random split, seeds 0..{options.seeds - 1}", accuracies, least, MOST)
        if max(accuracies) < LEARNT:
            continue
        unseen = records.accuracy(f"{model}, unseen actors", actor_accuracy, model, clips, options.device)
        check(f"{model}_actor", f"full: {model}, two actors not trained on", unseen, LEARNT, MOST)
        labels = np.random.default_rng(0).permutation(clips.emotion)
        permuted = replace(clips, emotion=labels)
        control = records.accuracy(f"{model}, permuted", random_accuracy, model, permuted, 0, options.device)
        count = len(random_split(labels, 0).test)
        low, high = (bound / count for bound in binom.interval(0.95, count, CHANCE))
        check(f"{model}_permuted", f"full: {model}, labels permuted, binomial 95% of chance", control, low, high)

    result = {
        "benchmark": "sample",
        **facts(),
        "device": options.device,
        "sample": VERSION,
        "figures": figures,
        "trainings": records.used,
        "lines": lines,
    }
    for path, text in ((options.json, json.dumps(result, indent=2)), (options.page, page(result))):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
    return 1 if any(text.startswith(MISS) for text in lines) else 0


def page(result: dict) -> str:
    """The lines as Markdown."""
    command = f"sample_difficulty.py --device {result['device']}"
    name = "sample" if result["device"] == "cpu" else "sample_gpu"
    lines = [
        "# The synthetic sample: how hard it is",
        "",
        f"{made_by(command, result, name)} Version {result['sample']} of the sample.",
        *trained_where(result),
        "",
        "No figure here is a RAVDESS result: all clips are of the synthetic sample, rendered from one portrait. "
        f"Accuracies are of trainings at the default settings, after the last of 30 epochs, with --device "
        f"{result['device']}.",
        "",
        "| | what was measured, what was asked, what was got |",
        "|---|---|",
        *(f"| {text[:4].strip()} | {text[5:]} |" for text in result["lines"]),
    ]
    return "\n".join(lines)


def trained_where(result: dict) -> list[str]:
    """A sentence on where the trainings ran that were kept from an earlier run; nothing without any."""
    here = {key: result[key] for key in ("commit", "hardware")}
    places = dict.fromkeys((one["commit"], one["date"][:10], one["hardware"]) for one in result.get("trainings", []))
    others = [f"{commit}, {date}, {where}" for commit, date, where in places]
    same = all(commit == here["commit"] and where == here["hardware"] for commit, _, where in places)
    return [] if same else [f"The trainings ran at commit, on: {'; '.join(others)}."]


class Records:
    """Trainings that have ended: a line of JSON each, with what it was, its accuracy and with what it was made.

    Attributes:
        used: those that this run is of.
    """

    def __init__(self, path: Path):
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        known = [json.loads(text) for text in lines]
        self._known = {one["training"]: one for one in known if one["sample"] == VERSION}
        self.used: list[dict] = []

    def accuracy(self, training: str, measure: Callable[..., float], *arguments: object) -> float:
        """Of a training, which is run by `measure` unless there is a record of it."""
        if training not in self._known:
            record = {"training": training, "sample": VERSION, "accuracy": measure(*arguments), **facts()}
            self._known[training] = record
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        self.used.append(self._known[training])
        return self._known[training]["accuracy"]


def clips_of(folder: Path, size: Size) -> tuple[Clips, float]:
    """The clips of a sample, and the share of all frames, also those after a clip's, in which a face is found."""
    index = build_sample(folder, size)
    members = [(folder / name, member) for name in index.files for member in list_members(folder / name)[0]]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=partial(torch.set_num_threads, 1)) as pool:
        crops, found = zip(*pool.map(crops_of, members, chunksize=4), strict=True)
    codes = [Code.parse(member.name) for _, member in members]
    clips = Clips(
        clip_id=[code.clip_id for code in codes],
        actor=np.array([code.actor for code in codes]),
        emotion=np.array([code.emotion for code in codes]),
        frames=np.stack(crops),
        num_frames=np.full(len(codes), FRAMES),
        found=np.stack([flags[:FRAMES] for flags in found]),
        prepared_with=frozenset(),
    )
    return clips, float(np.concatenate(found).mean())


def crops_of(where: tuple[Path, Member]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [60, 64, 64, 3] and, for every frame of the take, whether a face was detected in it."""
    with Video(read_member(*where), where[1].name) as video:
        crops = list(FaceFollower(MTCNN(), "track").crops(frame.rgb for frame in video.frames()))
    return np.stack([crop.pixels for crop in crops[:FRAMES]]), np.array([crop.found for crop in crops])


def probe_accuracy(pictures: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """What logistic regression reaches on single pictures [N, 64, 64, 3], on a random split.

    PCA without loss turns 12288 px into as many numbers as there are clips: the same function, found sooner.
    """
    split, flat = random_split(labels, seed), pictures.reshape(len(pictures), -1)
    probe = make_pipeline(StandardScaler(), PCA(), LogisticRegression(max_iter=2000))
    return float(probe.fit(flat[split.train], labels[split.train]).score(flat[split.test], labels[split.test]))


def random_accuracy(model: str, clips: Clips, seed: int, device: str) -> float:
    """Accuracy after the last epoch of a default training, on the random split of this seed."""
    split = random_split(clips.emotion, seed)
    return trained_accuracy(model, clips, split.train, split.test, seed, device)


def actor_accuracy(model: str, clips: Clips, device: str) -> float:
    """The same on the actors of the first fold, trained on all other actors."""
    test = actor_splits(clips.emotion, clips.actor, clips.clip_id, seed=0)[0].test
    return trained_accuracy(model, clips, np.setdiff1d(np.arange(len(clips)), test), test, 0, device)


def trained_accuracy(model: str, clips: Clips, train: np.ndarray, test: np.ndarray, seed: int, device: str) -> float:
    settings = TrainSettings(seed=seed)
    training = clips.take(train)
    *_, last = fit(new_model(model, settings, training), training, clips.take(test), settings, device)
    return last.record["val_accuracy"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
