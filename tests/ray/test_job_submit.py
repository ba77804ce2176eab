"""The jobs as `ray job submit` runs them, on a head of their own that wants its token."""

import json
import re
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import ray_head
from chaos_cluster import make_takes
from chaos_prepare import rows
from listening import listening, on_loopback
from memory import tree
from small_clips import write_small_clips
from small_cluster import send, titled
from tiny_video import FRAMES

from emotion_ray.models.store import load_stored

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

TAKES = 128  # four shards of clips: the first is written when most are still to be made
IN_THE_COPY = "this is the submitted copy"
PLACE = r"a cluster of 1 node: 4 CPU, 0 GPU(?: \([\d.]+ CPU free now\))?"  # other jobs run beside


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Where the jobs put what they make; clips to learn from are in its folder `small`."""
    root = tmp_path_factory.mktemp("root")
    write_small_clips(root / "small", frames=8, size=32, learnable=True)
    make_takes(root / "takes", TAKES)
    return root


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A working folder with a change that the installed package has not."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("emotion_ray", "jobs"):
        shutil.copytree(ray_head.REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "emotion_ray" / "cli" / "learning.py").open("a") as file:
        file.write(f"\nprint({IN_THE_COPY!r})\n")
    return folder


@pytest.fixture(scope="module")
def head(root):
    with ray_head.running(root, cpus=4) as head:
        yield head


@pytest.fixture(scope="module")
def jobs(head, root, copy) -> Iterator[dict[str, Future]]:
    """What `ray job submit` came to, two jobs at a time: most of a job's time is spent in starting it."""
    clips = ["--clips", root / "small"]
    from_copy = ["--working-dir", ".", "--"]
    tune = ["jobs/tune.py", "--model", "attention", "--trials", 2, "--epochs", 2, "--run", "sweep", *clips]
    train = ["jobs/train.py", "--epochs", 2, "--run", "trained", "--cpus-per-worker", 1, *clips]
    evaluate = ["jobs/evaluate.py", "--model", "lstm", "--epochs", 1, "--protocol", "random", *clips]
    with ThreadPoolExecutor(2) as pool:
        yield {
            "prepare": pool.submit(cut_and_submitted_again, head, root),
            "tune": pool.submit(head.ray, "job", "submit", *from_copy, *tune, cwd=copy),
            "train": pool.submit(head.ray, "job", "submit", *from_copy, *train, cwd=copy),
            "evaluate": pool.submit(head.ray, "job", "submit", "--", *evaluate, "--no-control", "--no-cost"),
            "failing": pool.submit(head.ray, "job", "submit", "--", "jobs/train.py", "--clips", "/nowhere"),
        }


def cut_and_submitted_again(head: ray_head.Head, root: Path):
    """Stops a bare job of preparing when it has written something, and submits it again.

    Returns:
        what the stop and the second submission came to, and the clip_ids that were held between them.
    """
    job = ["--", "jobs/prepare.py", "--source", root / "takes", "--frames", FRAMES, "--size", 32, "--workers", 2]
    submitted = head.ray("job", "submit", "--no-wait", "--submission-id", "cut", *job)
    assert submitted.returncode == 0, submitted.stderr
    deadline = time.monotonic() + 200
    workers: list[int] = []
    while not rows(root):
        assert time.monotonic() < deadline, head.ray("job", "logs", "cut").stdout
        workers = titled(head.pid, "MapBatches(CropStage")
    send(workers, signal.SIGSTOP)  # else all may be done before the command to stop has started
    stopped = head.ray("job", "stop", "cut")
    send(workers, signal.SIGCONT)
    held = [row["clip_id"] for row in rows(root)]
    return stopped, held, head.ray("job", "submit", *job)


def test_the_head_wants_its_token_and_keeps_to_loopback(head):
    token = Path(head.environment["RAY_AUTH_TOKEN_PATH"])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert head.answers(token.read_text()) == 200
    assert head.answers("a-guess") in (401, 403)
    places = listening(tree(head.pid))
    assert "raylet" in places.values()
    assert not [place for place in places if not on_loopback(place[0])]


def test_a_bare_job_that_is_stopped_goes_on_when_it_is_submitted_again(jobs, root):
    stopped, held, again = jobs["prepare"].result()
    assert "was stopped" in stopped.stdout + stopped.stderr
    assert 0 < len(held) < TAKES
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.search(f"preparing on {PLACE};", again.stdout)
    (told,) = re.findall(r"clips go to (\S+)", again.stdout)
    assert told == str(root / "clips")
    ids = [row["clip_id"] for row in rows(root)]
    assert len(ids) == len(set(ids)) == TAKES
    assert set(held) < set(ids)
    made = int(re.search(r"(\d+) clips made", again.stdout)[1])
    assert 0 < made <= TAKES - len(held)
    assert (root / "clips" / "contact_sheet.png").is_file()


def test_a_submitted_copy_tunes(jobs, root):
    done = jobs["tune"].result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert IN_THE_COPY in done.stdout
    assert re.search(f"tuning on {PLACE}: 2 trials at a time, each of 1 x 1 CPU", done.stdout)
    assert "2/2 trials" in done.stdout
    (told,) = re.findall(r"model sweep is in the store; leaderboard and pictures: (\S+)", done.stdout)
    board = json.loads((Path(told) / "leaderboard.json").read_text())
    assert len({row["trial"] for row in board["trials"]}) == 2
    assert load_stored(root / "models", "sweep").record.architecture == "attention"


def test_a_submitted_copy_trains(jobs, root):
    done = jobs["train"].result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert IN_THE_COPY in done.stdout
    assert re.search(f"training on {PLACE}:", done.stdout)
    assert re.findall(r"^epoch (\d)/2: training loss", done.stdout, re.MULTILINE) == ["1", "2"]
    (told,) = re.findall(r"model trained: .* in (\S+)$", done.stdout, re.MULTILINE)
    assert told == str(root / "models" / "trained")
    assert load_stored(root / "models", "trained").record.architecture == "lstm"


def test_a_bare_job_evaluates(jobs, root):
    done = jobs["evaluate"].result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert IN_THE_COPY not in done.stdout
    assert re.search(f"evaluating on {PLACE}:", done.stdout)
    (told,) = re.findall(r"the report is (\S+)", done.stdout)
    assert Path(told).is_relative_to(root / "runs")
    assert "UAR" in Path(told).read_text()


def test_a_job_that_fails_says_so_in_its_status_and_in_one_line(jobs):
    done = jobs["failing"].result()
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "emotion-ray: no clips in /nowhere" in said
    assert "Traceback" not in said
