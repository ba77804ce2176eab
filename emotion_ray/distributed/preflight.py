"""Whether what was asked for can ever run, by arithmetic, before anything waits for it. No Ray in here."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from emotion_ray.errors import EmotionRayError

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Machine:
    """What one machine has for Ray's workers: logical CPUs and GPUs."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Need:
    """What one worker takes. All of it must be had on one machine."""

    cpus: float
    gpus: float = 0.0

    @property
    def resources(self) -> dict[str, float]:
        """In Ray's words."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}

    @property
    def threads(self) -> int:
        """Threads that PyTorch may compute with."""
        return max(1, int(self.cpus))

    @property
    def device(self) -> Device:
        return "cuda" if self.gpus else "cpu"

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")


def this_machine() -> Machine:
    """What a Ray that we start here would have."""
    return Machine(len(os.sched_getaffinity(0)), torch.cuda.device_count())


def room(machines: Sequence[Machine], need: Need) -> int:
    """How many such workers fit at once."""
    fits = 0
    for machine in machines:
        ways = [machine.cpus / need.cpus] if need.cpus else []
        if need.gpus:
            # A share of a GPU is a share of one: two of 0.6 don't fit on one, nor three on two.
            whole = need.gpus >= 1
            ways.append(machine.gpus / need.gpus if whole else machine.gpus * math.floor(1 / need.gpus + 1e-9))
        fits += math.floor(min(ways) + 1e-9)
    return fits


def worker_need(
    workers: int,
    device: Literal["auto", "cpu", "cuda"],
    cpus_per_worker: int | None,
    gpus_per_worker: float,
    machines: Sequence[Machine],
    flag: str = "--workers",
) -> Need:
    """What each of so many workers is to get.

    Args:
        workers: how many run at once.
        device: "auto" takes GPUs where there are enough for all of the workers.
        cpus_per_worker: None shares out all the CPUs.
        gpus_per_worker: used where the device is a GPU.
        machines: all there are.
        flag: by which the number of workers was given.

    Raises:
        EmotionRayError: that can't run on these machines; with the sum and what to give instead.
    """
    gpus = 0.0
    if device != "cpu":
        enough = room(machines, Need(0, gpus_per_worker))
        if device == "cuda" and enough < workers:
            fewer = f"{flag} {enough} or less, a smaller --gpus-per-worker, or " if enough else ""
            raise EmotionRayError(
                f"{_count(workers, 'worker')} x {gpus_per_worker:g} GPU = {workers * gpus_per_worker:g} GPU, and "
                f"{_has(machines)}, room for {enough}: give {fewer}--device cpu"
            )
        gpus = gpus_per_worker if enough >= workers else 0.0
    need = Need(cpus_per_worker or _largest_share(workers, gpus, machines), gpus)
    fits = room(machines, need)
    if fits < workers:
        fixes = [f"give {flag} {fits} or less"] if fits else []
        fixes += ["give a smaller --cpus-per-worker"] if need.cpus > 1 else []
        raise EmotionRayError(
            f"{_count(workers, 'worker')} x {need.cpus:g} CPU = {workers * need.cpus:g} CPU, and {_has(machines)}, "
            f"room for {fits}: {', '.join([*fixes, 'or add machines'])}"
        )
    return need


def trials_at_once(
    asked: int | None, trials: int, workers: int, need: Need, machines: Sequence[Machine], watching: float = 0.0
) -> int:
    """How many trials of a sweep may run at once, each of so many workers.

    Args:
        asked: None takes as many as there is room for.
        trials: of the sweep: more at once make no sense.
        workers: of a trial.
        need: of each worker.
        machines: all there are.
        watching: CPUs that each trial takes beside its workers.

    Raises:
        EmotionRayError: so many trials, or even one, can never run at once; with the sum and what to give instead.
    """
    cpus = sum(machine.cpus for machine in machines)
    most = min(room(machines, need) // workers, int(cpus / (workers * need.cpus + watching)))
    wanted = asked or 1
    if most < wanted:
        total = Need(wanted * (workers * need.cpus + watching), wanted * workers * need.gpus)
        beside = f", and {watching:g} CPU beside" if watching else ""
        fix = f"give --max-concurrent {most}" if most else "give less --workers-per-trial or --cpus-per-worker"
        raise EmotionRayError(
            f"{_count(wanted, 'trial')} at once, each of {_count(workers, 'worker')} x {need}{beside} = {total}, and "
            f"{_has(machines)}, room for {most}: {fix}, or add machines"
        )
    return min(asked or most, trials)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


def _largest_share(workers: int, gpus: float, machines: Sequence[Machine]) -> int:
    share = max((int(machine.cpus) for machine in machines), default=1)
    while share > 1 and room(machines, Need(share, gpus)) < workers:
        share -= 1
    return max(share, 1)


def _has(machines: Sequence[Machine]) -> str:
    cpus, gpus = sum(one.cpus for one in machines), sum(one.gpus for one in machines)
    where = "this machine has" if len(machines) == 1 else f"the {len(machines)} machines have"
    return f"{where} {cpus:g} CPU and {gpus:g} GPU"
