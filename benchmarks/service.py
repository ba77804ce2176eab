#!/usr/bin/env python
"""The service on Ray Serve: latency and throughput, twice the load it can carry, and a replica that is killed.

python benchmarks/service.py --json figures.json
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import machine
import torch
import tyro
from asked import line
from free_ports import free_ports
from memory import PeakMemory, tree
from plain_models import PlainLSTM
from rich.console import Console

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.distributed.serve import serving
from emotion_ray.inference.analysis import analyse
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import load_stored, save_model
from emotion_ray.real_clips import real_clips
from emotion_ray.settings import LSTMSettings, ServeSettings
from emotion_ray.vision.mtcnn import MTCNN

CLIP = "01/sample_01.mp4"
REPEATS = 7
MOST_RATIO, MORE_S = 1.3, 0.05
LEAST_TIMES_PLAIN = 10.0
FLAT, AS_FAST = 1.1, 1.2
OVERLOAD_S = 60.0
NO_ANSWER = 0  # in the place of a status


def main(overload_s: float = OVERLOAD_S, json: Path | None = None) -> None:
    """Measures.

    Args:
        overload_s: seconds of twice the load.
        json: file for the figures.
    """
    torch.set_num_threads(1)
    content = real_clips()[CLIP].read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        save_untrained(Path(folder))
        figures = measure(Path(folder), content, overload_s)
    if json is not None:
        write(json, figures)


def measure(root: Path, content: bytes, overload_s: float) -> dict:
    """All figures; prints a line for each thing asked."""
    with served(root, replicas=1, queue=4) as url:
        latency, engine = latencies(root, url, content)
        ratio = latency / engine
        met = latency <= MOST_RATIO * engine + MORE_S
        got = f"{latency:.3f} s, the engine alone {engine:.3f} s"
        line(met, "median latency of an upload", f"<= {MOST_RATIO} x engine + {1000 * MORE_S:.0f} ms", got)
        rate = throughput(lambda: post(url, content), at_once=2, seconds=15.0)
        overload(url, content, 2 * rate, overload_s, latency)
    plain = plain_rate(content)
    met = rate >= LEAST_TIMES_PLAIN * plain
    got = f"{rate / plain:.1f} times ({rate:.3f} and {plain:.4f} videos a second)"
    line(met, "throughput against the plain FastAPI app", f">= {LEAST_TIMES_PLAIN:g} times", got)
    with served(root, replicas=2, queue=4) as url:
        kill_one(url, content)
    return {
        "machine": machine.facts(),
        "latency_s": latency,
        "engine_s": engine,
        "videos_per_s": rate,
        "plain_videos_per_s": plain,
        "ratios": {"service_latency_vs_engine": ratio, "service_vs_fastapi_throughput": rate / plain},
    }


def latencies(root: Path, url: str, content: bytes) -> tuple[float, float]:
    """Median seconds of one upload, and of the engine called in this process; measured in turns."""
    mtcnn, model = MTCNN(), load_stored(root / "models", "untrained")

    def in_process() -> None:
        for _ in analyse(content, CLIP, EmotionStream(mtcnn, model)):
            pass

    service, engine = [], []
    post(url, content)
    in_process()
    for _ in range(REPEATS):
        service.append(seconds(lambda: post(url, content)))
        engine.append(seconds(in_process))
    return statistics.median(service), statistics.median(engine)


def throughput(request: Callable[[], httpx2.Response], at_once: int, seconds: float) -> float:
    """Answers 200 a second, from so many clients that send one after the other."""
    until, done = time.monotonic() + seconds, []

    def client() -> None:
        while time.monotonic() < until:
            if request().status_code == 200:
                done.append(time.monotonic())

    began = time.monotonic()
    run_all([client] * at_once)
    return len(done) / (max(done) - began)


def overload(url: str, content: bytes, rate: float, duration_s: float, before: float) -> None:
    """Sends requests at a rate, whatever becomes of them, and looks at answers, memory and the time after."""
    statuses: list[int] = []

    def one() -> None:
        try:
            statuses.append(post(url, content).status_code)
        except httpx2.HTTPError:
            statuses.append(NO_ANSWER)

    def half() -> float:
        threads, began = [], time.monotonic()
        with PeakMemory() as memory:
            while time.monotonic() - began < duration_s / 2:
                threads.append(threading.Thread(target=one))
                threads[-1].start()
                time.sleep(max(began + len(threads) / rate - time.monotonic(), 0))
            for thread in threads:
                thread.join()
        return memory.peak_bytes

    first, second = half(), half()
    told = ", ".join(f"{statuses.count(status)} x {status}" for status in sorted(set(statuses)))
    what = f"{duration_s:.0f} s at twice the load"
    line(set(statuses) <= {200, 429} and 200 in statuses, what, "200 or 429", told)
    megabytes = f"{first / 1e6:.0f} MB in the first half, {second / 1e6:.0f} in the second"
    line(second <= FLAT * first, "memory meanwhile", f"second half <= {FLAT} x first", megabytes)
    after = statistics.median(seconds(lambda: post(url, content)) for _ in range(REPEATS))
    line(
        after <= AS_FAST * before, "latency afterwards", f"<= {AS_FAST} x before", f"{after:.3f} s, before {before:.3f}"
    )


def plain_rate(content: bytes) -> float:
    """Videos a second of the plain app, from one request after a short warm-up."""
    (port,) = free_ports(1)
    command = [sys.executable, str(Path(__file__).with_name("plain_service.py")), str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/openapi.json")
            files = {"video": ("take.mp4", content, "video/mp4")}
            took = seconds(lambda: httpx2.post(f"http://127.0.0.1:{port}/predict", files=files, timeout=600))
        finally:
            process.terminate()
    return 1 / took


def kill_one(url: str, content: bytes) -> None:
    """Kills one of two replicas while both work."""
    answers: list[httpx2.Response] = []
    unanswered: list[httpx2.HTTPError] = []
    until = time.monotonic() + 20

    def client() -> None:
        while time.monotonic() < until:
            try:
                answers.append(post(url, content))
            except httpx2.HTTPError as error:
                unanswered.append(error)

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    named = b"ray::ServeReplica:emotion_ray:replica"
    serving_now = [pid for pid in tree(os.getpid()) if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(named)]
    os.kill(serving_now[0], signal.SIGKILL)
    for thread in threads:
        thread.join()
    lost = [answer for answer in answers if answer.status_code != 200]
    clear = not unanswered and all(one.status_code == 503 and one.headers.get("retry-after") for one in lost)
    got = f"{len(answers)} answers, {len(lost)} of them 503 with Retry-After" if clear else f"{lost + unanswered}"
    line(clear and len(lost) <= 3, "a replica killed under load, of two", "only its own requests, 503", got)


def post(url: str, content: bytes) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/predict", files={"video": ("take.mp4", content, "video/mp4")}, timeout=300)


@contextmanager
def served(root: Path, replicas: int, queue: int) -> Iterator[str]:
    settings = ServeSettings(root=str(root), port=free_ports(1)[0], replicas=replicas, queue=queue)
    with serving(settings, Console(stderr=True)) as url:
        wait_for(f"{url}/readyz")
        yield url


def save_untrained(root: Path) -> None:
    """An LSTM of the baseline's sizes: how fast it is does not depend on its weights."""
    torch.manual_seed(0)
    record = ModelRecord("lstm", LSTMSettings(), 60, 64, EMOTIONS)
    save_model(root / "models", "untrained", PlainLSTM().state_dict(), record)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run_all(work: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def wait_for(url: str, limit_s: float = 60.0) -> None:
    until = time.monotonic() + limit_s
    while True:
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        if time.monotonic() > until:
            raise TimeoutError(url)
        time.sleep(0.2)


def write(path: Path, figures: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
