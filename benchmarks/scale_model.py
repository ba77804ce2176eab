"""What preparing takes at scale, reckoned from rates that were measured, and where it meets its first limits."""

from collections.abc import Sequence
from dataclasses import dataclass

CLIP_BYTES = 60 * 64 * 64 * 3  # of crops; zstd takes little off them
CLIPS_A_SHARD = 32
CORES_A_MACHINE = 16
MEMORY_A_MACHINE = 64e9  # bytes
DRIVER_MEMORY = 2e9  # bytes that a plan may take
IN_FLIGHT_A_CORE = 192 * 2**20  # bytes of takes and clips that wait: BYTES_IN_FLIGHT_A_WORKER of crop_graph.py


@dataclass(frozen=True)
class Rates:
    """What was measured.

    Attributes:
        clips_a_second_a_core: of the whole job on Ray, with 60 frames of 720p.
        video_bytes: of a take, with its sound.
        video_s: of a take.
        manifest_bytes: of a row.
        planned_bytes: of the driver's memory, for a planned take.
        driver_bytes: of its memory before it plans.
        planned_s: to plan a take.
        shard_s: to learn what a shard holds, on a disk.
        driver_clips_a_second: that one driver can pass through the graph where a clip is next to no work; None: not
            measured.
    """

    clips_a_second_a_core: float
    video_bytes: float
    video_s: float
    manifest_bytes: float
    planned_bytes: float
    driver_bytes: float
    planned_s: float
    shard_s: float
    driver_clips_a_second: float | None


@dataclass(frozen=True)
class Workload:
    """So many takes to prepare."""

    name: str
    takes: int
    video_bytes: float
    why: str = ""


def workloads(rates: Rates, actors_takes: int, actors_bytes: float) -> list[Workload]:
    """RAVDESS's 24 actors, 1,000 hours of takes as long as RAVDESS's, and 1,000,000 of them."""
    hours = round(1000 * 3600 / rates.video_s)
    return [
        Workload("24 actors", actors_takes, actors_bytes, ": archives hold each without sound too"),
        Workload("1,000 hours", hours, hours * rates.video_bytes),
        Workload("1,000,000 clips", 1_000_000, 1_000_000 * rates.video_bytes),
    ]


def clips_a_second(rates: Rates, cores: int) -> float:
    """Of so many cores, or of what one driver was seen to feed where that is less."""
    by_cores = rates.clips_a_second_a_core * cores
    return by_cores if rates.driver_clips_a_second is None else min(by_cores, rates.driver_clips_a_second)


def hours(work: Workload, rates: Rates, cores: int) -> float:
    return work.takes / clips_a_second(rates, cores) / 3600


def needs(work: Workload, rates: Rates) -> list[tuple[str, str, str]]:
    """What a workload takes, as rows of what, how much, and the arithmetic."""
    takes, shards = work.takes, -(-work.takes // CLIPS_A_SHARD)
    rate = rates.clips_a_second_a_core
    by_cores = []
    for cores in (2, 16, 64):
        together = clips_a_second(rates, cores)
        sum_ = f"{takes:,} / ({rate:.2f} a second x {cores})"
        if together < rate * cores:
            sum_ = f"{takes:,} / {together:.1f} a second, which is what one driver fed here"
        by_cores.append((f"time on {cores} cores", _time(hours(work, rates, cores)), sum_))
    driver = rates.driver_bytes + takes * rates.planned_bytes
    return [
        *by_cores,
        ("video", _bytes(work.video_bytes), f"{_bytes(work.video_bytes / takes)} a take{work.why}"),
        ("clips", _bytes(takes * CLIP_BYTES), f"{takes:,} x 60 x 64 x 64 x 3 bytes, before zstd"),
        ("shards, at least", f"{shards:,}", f"{takes:,} / {CLIPS_A_SHARD}; a shard is of one actor"),
        ("manifest", _bytes(takes * rates.manifest_bytes), f"{takes:,} x {rates.manifest_bytes:.0f} bytes"),
        (
            "driver's memory",
            _bytes(driver),
            f"{_bytes(rates.driver_bytes)} + {takes:,} x {rates.planned_bytes:.0f} bytes",
        ),
        (
            "network into each machine",
            f"{_bytes(rate * CORES_A_MACHINE * work.video_bytes / takes)}/s",
            f"{rate:.2f} a second x {CORES_A_MACHINE} cores x {_bytes(work.video_bytes / takes)}",
        ),
        (
            "object store on each machine",
            _bytes(CORES_A_MACHINE * IN_FLIGHT_A_CORE),
            f"{CORES_A_MACHINE} cores x {IN_FLIGHT_A_CORE / 2**20:.0f} MiB, whatever the number of takes",
        ),
    ]


def limits(rates: Rates) -> list[tuple[str, str, str]]:
    """What gives way first: what, where, and the arithmetic; what limits cores, then what limits clips."""
    memory = MEMORY_A_MACHINE / CLIP_BYTES
    driver = (DRIVER_MEMORY - rates.driver_bytes) / rates.planned_bytes
    found = [
        (
            memory,
            "training: all clips are held in memory",
            f"{memory:,.0f} clips",
            f"{_bytes(MEMORY_A_MACHINE)} of a machine / {_bytes(CLIP_BYTES)} a clip",
        ),
        (
            driver,
            "the driver's memory while planning",
            f"{driver:,.0f} takes",
            f"({_bytes(DRIVER_MEMORY)} - {_bytes(rates.driver_bytes)}) / {rates.planned_bytes:.0f} bytes",
        ),
        (
            60 / rates.shard_s * CLIPS_A_SHARD,
            "the number of files: a minute to take stock of the shards on a disk",
            f"{60 / rates.shard_s * CLIPS_A_SHARD:,.0f} clips",
            f"60 s / {rates.shard_s * 1e3:.2f} ms a shard x {CLIPS_A_SHARD}",
        ),
        (
            60 / rates.planned_s,
            "the manifest: a minute to plan",
            f"{60 / rates.planned_s:,.0f} takes",
            f"60 s / {rates.planned_s * 1e6:.0f} us a row",
        ),
    ]
    rows = [(what, where, sum_) for _, what, where, sum_ in sorted(found)]
    if rates.driver_clips_a_second is not None:
        cores = rates.driver_clips_a_second / rates.clips_a_second_a_core
        arithmetic = f"{rates.driver_clips_a_second:.1f} clips a second / {rates.clips_a_second_a_core:.2f} a core"
        what = "the scheduler: no more was fed by one driver here, its workers on the same two cores"
        rows.insert(0, (what, f"{cores:,.0f} cores", arithmetic))
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _time(hours: float) -> str:
    for unit, size, decimals in (("days", 24, 0), ("hours", 1, 1), ("minutes", 1 / 60, 0)):
        if hours >= (3 if unit == "days" else 1) * size:
            return f"{hours / size:.{decimals}f} {unit}"
    return f"{hours * 3600:.0f} s"


def _bytes(number: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
