"""What a job makes of the place where it runs."""

import io
from contextlib import contextmanager
from dataclasses import replace

import pytest
import ray
from noise_clip import noise_clip
from portrait_video import codes, portrait_video
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from emotion_ray.data.storage import Folder
from emotion_ray.distributed import cluster, shared_folder
from emotion_ray.distributed import prepare as module
from emotion_ray.distributed.prepare import prepare
from emotion_ray.distributed.write_stage import WriteStage, Written
from emotion_ray.errors import EmotionRayError
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


@pytest.fixture
def no_ray_yet(monkeypatch, tmp_path):
    """As in a process that has not joined Ray, on a machine that has none."""
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "starts_here", lambda: True)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    for name, value in (cluster.KEEP_WORKERS | cluster.NO_METRICS).items():
        monkeypatch.setenv(name, value)


def failing(error):
    def init(**_):
        raise error

    return init


def test_a_ray_that_does_not_start_in_time_is_told_in_one_line(no_ray_yet, monkeypatch):
    words = "The current node timed out during startup. This could happen because some of the raylet failed to startup"
    monkeypatch.setattr(cluster.ray, "init", failing(Exception(words)))  # Ray 2.60's own words, and its bare Exception
    with pytest.raises(EmotionRayError) as caught, cluster.connected():
        pass
    assert "did not start on this machine within 30 s" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_that_nobody_foresaw_keeps_its_traceback(no_ray_yet, monkeypatch):
    monkeypatch.setattr(cluster.ray, "init", failing(Exception("of another kind")))
    with pytest.raises(Exception, match=r"^of another kind$") as caught, cluster.connected():
        pass
    assert not isinstance(caught.value, EmotionRayError)


KINDS = ("near", "far", "dead", "gone")
IDS = {name: f"{number:056x}" for number, name in enumerate(KINDS, 1)}  # in the form that Ray's have


class Probe:
    """In place of the task that looks on a machine whether it sees a folder.

    On "far" it sees nothing, on "dead" it never answers, on "gone" Ray says that there is no such machine.
    """

    def __init__(self, ray):
        self._ray, self._node, self.refs = ray, "", []

    def options(self, scheduling_strategy):
        self._node = scheduling_strategy.node_id
        return self

    def remote(self, sees):
        if self._node == IDS["dead"]:
            ref = self._ray.remote(resources={"nowhere": 1})(lambda: "").remote()
        elif self._node == IDS["gone"]:
            there = NodeAffinitySchedulingStrategy(self._node, soft=False)
            ref = self._ray.remote(scheduling_strategy=there)(lambda: "").remote()
        else:
            ref = self._ray.put(sees() if self._node == IDS["near"] else False)
        self.refs.append(ref)
        return ref


@pytest.fixture
def machines(ray_here, monkeypatch):
    """Makes the cluster look as one of these machines."""
    probe = Probe(ray_here)
    monkeypatch.setattr(shared_folder, "_on_a_machine", probe)
    monkeypatch.setattr(shared_folder, "WAIT_S", 0.5)

    def look_like(*names):
        nodes = [{"NodeID": IDS[name], "NodeManagerHostname": f"host-{name}", "Alive": True} for name in names]
        monkeypatch.setattr(shared_folder.ray, "nodes", lambda: nodes)

    yield look_like
    for ref in probe.refs:
        ray_here.cancel(ref)


@pytest.mark.parametrize("other", ["far", "dead"])
def test_a_folder_that_not_all_machines_see_is_refused(machines, tmp_path, other):
    machines("near", other)
    with pytest.raises(EmotionRayError) as caught:
        shared_folder.check_shared(str(tmp_path))
    said = str(caught.value)
    assert f"(not on host-{other})" in said and "give a --root that they share" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["near", "gone"])
def test_a_folder_that_all_machines_see_is_taken(machines, tmp_path, other):
    machines("near", other)
    shared_folder.check_shared(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_file_that_not_all_machines_have_is_refused(machines, tmp_path):
    machines("near", "far")
    with pytest.raises(EmotionRayError, match=r"not on host-far\): give a --source on a disk that they share"):
        shared_folder.check_readable(str(tmp_path), "--source")
    machines("near", "gone")
    shared_folder.check_readable(str(tmp_path), "--source")


def test_a_machine_that_joins_later_and_sees_another_folder_writes_no_clip(tmp_path):
    here, elsewhere = Folder.at(tmp_path / "here"), Folder.at(tmp_path / "elsewhere")
    with shared_folder.marked(here, "--out") as mark:
        (written,) = WriteStage(here, mark).write({"item": [noise_clip("a")]})
        (failed,) = WriteStage(elsewhere, replace(mark, folder=elsewhere)).write({"item": [noise_clip("b")]})
    assert isinstance(written["item"][0], Written)
    assert "is not the same folder on all machines" in failed["item"][0].message
    assert "give a --out that they share" in failed["item"][0].message
    assert not (tmp_path / "elsewhere").exists()
    assert [path.suffix for path in (tmp_path / "here").rglob("*") if path.is_file()] == [".parquet"]


def test_a_token_that_is_wanted_and_not_there_is_told_in_one_line(no_ray_yet, monkeypatch):
    monkeypatch.setattr(cluster.ray, "init", failing(ray.exceptions.AuthenticationError("no token")))
    with pytest.raises(EmotionRayError) as caught, cluster.connected():
        pass
    assert str(caught.value).startswith("the cluster wants its token")
    assert "put its token into ~/.ray/auth_token" in str(caught.value)


def test_clips_are_not_prepared_into_a_folder_that_is_another_one_on_each_machine(machines, tmp_path, monkeypatch):
    connected = module.connected

    @contextmanager
    def of_two(*given):
        with connected(*given) as place:
            machines("near", "far")
            yield place

    monkeypatch.setattr(module, "connected", of_two)
    (tmp_path / "takes").mkdir()
    (tmp_path / "takes" / f"{codes(1, 1)[0].clip_id}.mp4").write_bytes(portrait_video(8, 0))
    out = tmp_path / "clips"
    settings = PrepareSettings(source=str(tmp_path / "takes"), out=str(out), frames=8)
    with pytest.raises(EmotionRayError, match=r"clips is not the same folder .* give a --out that they share"):
        prepare(settings, Console(file=io.StringIO()))
    assert not list(out.rglob("*.parquet"))
