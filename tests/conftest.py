"""What several tests share."""

from pathlib import Path

import pytest
import torch

from emotion_ray.errors import EmotionRayError
from emotion_ray.vision.mtcnn import MTCNN


@pytest.fixture(scope="session")
def real_clips() -> dict[str, Path]:
    """The ten real clips by name; a test that asks for them is skipped where they can't be had."""
    from emotion_ray.real_clips import real_clips

    try:
        return real_clips()
    except EmotionRayError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mtcnn() -> MTCNN:
    return MTCNN()


@pytest.fixture
def one_thread():
    """PyTorch on one thread: an original at two threads may pick another of two candidates that nearly tie."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
