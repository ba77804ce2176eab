"""Whether all machines of a cluster see the same folder: a local path means another disk on each of them."""

import uuid

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError

WAIT_S = 30.0


def check_shared(path: str, flag: str = "--root") -> None:
    """Makes sure that every machine of the cluster that is joined reads what this one writes to a folder.

    A machine that has just left may still be listed: one that can't be asked is none that will get work either.

    Args:
        path: of the folder, or its URI.
        flag: by which it was given.

    Raises:
        EmotionRayError: one does not; or does not answer.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    here = Folder.at(path)
    if len(nodes) == 1:
        return
    token, name = uuid.uuid4().hex, f".probe-{uuid.uuid4().hex[:8]}"
    here.publish(name, token.encode())
    try:
        reads = {
            _read.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                path, name
            ): node["NodeManagerHostname"]
            for node in nodes
        }
        done, waiting = ray.wait(list(reads), num_returns=len(reads), timeout=WAIT_S)
        blind = [reads[one] for one in done if _answer(one, token) != token] + [reads[one] for one in waiting]
    finally:
        here.remove(name)
    if blind:
        raise EmotionRayError(
            f"{path} is not the same folder on all machines (not on {', '.join(sorted(blind))}): "
            f"give a {flag} that they share, such as a network disk or s3://"
        )


def _answer(read: "ray.ObjectRef[str]", of_one_that_left: str) -> str:
    try:
        return ray.get(read)
    except ray.exceptions.RayError:
        return of_one_that_left


@ray.remote(num_cpus=0, max_retries=1)
def _read(path: str, name: str) -> str:
    try:
        return Folder.at(path).read(name).decode()
    except (OSError, EmotionRayError):
        return ""
