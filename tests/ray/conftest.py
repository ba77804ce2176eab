import importlib
import logging
import os

import pytest


@pytest.fixture(scope="session")
def ray_here():
    """One Ray of two CPUs for all tests; what asks for a connection uses this one."""
    importlib.import_module("emotion_ray.distributed")  # before Ray, which it quietens
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    yield ray
    ray.shutdown()
