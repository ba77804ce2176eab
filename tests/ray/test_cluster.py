"""What a job makes of the place where it runs."""

import io
from contextlib import contextmanager
from dataclasses import replace

import pytest
from portrait_video import codes, portrait_video
from rich.console import Console

from emotion_ray.distributed import prepare as module
from emotion_ray.distributed.prepare import prepare
from emotion_ray.settings import PrepareSettings

pytestmark = pytest.mark.ray


@pytest.mark.timeout(120)
def test_where_there_is_no_cpu_yet_one_is_waited_for_and_that_is_said(ray_here, tmp_path, monkeypatch):
    """As on a head of no CPU of a cluster that grows: it looks so when the job begins, and then there are some."""
    connected = module.connected

    @contextmanager
    def none_yet(*given):
        with connected(*given) as place:
            yield replace(place, cpus=0.0)

    monkeypatch.setattr(module, "connected", none_yet)
    (tmp_path / "takes").mkdir()
    for index, code in enumerate(codes(1, 3)):
        (tmp_path / "takes" / f"{code.clip_id}.mp4").write_bytes(portrait_video(8, index))
    console = Console(file=io.StringIO(), width=200)
    done = prepare(PrepareSettings(source=str(tmp_path / "takes"), root=str(tmp_path), frames=8), console)
    assert done.made == 3
    (told,) = [text for text in console.file.getvalue().splitlines() if "waiting for one" in text]
    assert "0 CPU" in told and "--workers" in told
