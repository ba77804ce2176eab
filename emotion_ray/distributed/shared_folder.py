"""Whether all machines of a cluster see the same files: a local path means another disk on each of them."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError

WAIT_S = 30.0


@dataclass(frozen=True)
class Mark:
    """A file by which a machine tells whether a folder is the one that was marked.

    Attributes:
        folder: as this machine, or another one, sees it.
        flag: by which it was given.
        name, token: of the file, and what is in it.
    """

    folder: Folder
    flag: str
    name: str
    token: str

    def is_seen(self) -> bool:
        """Whether it is there.

        Raises:
            EmotionRayError: an object store that can't be asked now.
        """
        try:
            return self.folder.read(self.name).decode() == self.token
        except OSError:
            return False


@contextmanager
def marked(folder: Folder, flag: str) -> Iterator[Mark]:
    """Keeps a mark in a folder while the block runs, also for machines that join the cluster meanwhile."""
    mark = Mark(folder, flag, f".probe-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex)
    folder.publish(mark.name, mark.token.encode())
    try:
        yield mark
    finally:
        folder.remove(mark.name)


def check_shared(path: str, flag: str = "--root") -> None:
    """Makes sure that every machine of the cluster that is joined reads what this one writes to a folder.

    Args:
        path: of the folder, or its URI.
        flag: by which it was given.

    Raises:
        EmotionRayError: one does not; or does not answer.
    """
    folder = Folder.at(path)
    if len(_nodes()) == 1:
        return
    with marked(folder, flag) as mark:
        blind = _blind(mark.is_seen)
    if blind:
        raise EmotionRayError(unshared(path, flag, blind))


def check_readable(path: str, flag: str) -> None:
    """Makes sure that every machine of the cluster that is joined has a file.

    Raises:
        EmotionRayError: one has not; or does not answer.
    """
    if len(_nodes()) > 1 and (blind := _blind(Path(path).exists)):
        raise EmotionRayError(
            f"{path} is not there on all machines (not on {', '.join(blind)}): give a {flag} on a disk that they share"
        )


def unshared(path: str, flag: str, blind: list[str]) -> str:
    """What to tell of a folder that some machines don't share."""
    return (
        f"{path} is not the same folder on all machines (not on {', '.join(blind)}): "
        f"give a {flag} that they share, such as a network disk or s3://"
    )


def _nodes() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"]]


def _blind(sees: Callable[[], bool]) -> list[str]:
    """The machines on which `sees` is false, or that don't answer.

    A machine that has just left may still be listed: one that can't be asked is none that will get work either.
    """
    asked = {
        _on_a_machine.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            sees
        ): node["NodeManagerHostname"]
        for node in _nodes()
    }
    done, waiting = ray.wait(list(asked), num_returns=len(asked), timeout=WAIT_S)
    return sorted([asked[one] for one in done if not _answer(one)] + [asked[one] for one in waiting])


def _answer(asked: "ray.ObjectRef[bool]") -> bool:
    try:
        return ray.get(asked)
    except ray.exceptions.RayError:
        return True


@ray.remote(num_cpus=0, max_retries=1)
def _on_a_machine(sees: Callable[[], bool]) -> bool:
    return sees()
