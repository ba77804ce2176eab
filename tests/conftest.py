"""What several tests share."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models on two busy cores: threads would wait for each other

import pytest
import torch
from fake_zenodo import FakeZenodo
from one_archive import CONTENT, NAME
from small_disk import small_disk

from emotion_ray.data.archives import Archive
from emotion_ray.errors import EmotionRayError
from emotion_ray.real_clips import real_clips as fetch_real_clips
from emotion_ray.vision.mtcnn import MTCNN


def pytest_configure() -> None:
    """Lets commands that tests start hear of Ctrl-C: what a shell starts in the background is told to ignore it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_clips() -> dict[str, Path]:
    """The ten real clips by name; a test that asks for them is skipped where they can't be had."""
    try:
        return fetch_real_clips()
    except EmotionRayError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mtcnn() -> MTCNN:
    return MTCNN()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, as a worker runs it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tmpfs(tmp_path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of its own, with options such as `size=64k` or `ro`, and gives its folder."""
    with ExitStack() as stack:

        def mount(options: str) -> Path:
            return stack.enter_context(small_disk(tmp_path / "tmpfs", options))

        yield mount


@pytest.fixture
def zenodo(monkeypatch) -> Iterator[FakeZenodo]:
    """A record of one archive."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeZenodo({NAME: CONTENT}) as server:
        yield server


@pytest.fixture
def archive(zenodo) -> Archive:
    """The archive of that record."""
    return Archive(NAME, zenodo.file_url(NAME), len(CONTENT), zenodo.md5(NAME))
