#!/usr/bin/env python
"""How far the job of preparing goes: a plan of a million takes, the graph with ten thousand, and the rest reckoned.

    python benchmarks/scale.py --page results/benchmarks/scale.md --json results/benchmarks/scale.json
    python benchmarks/scale.py --graph       also runs 10,000 tiny videos through Ray, about a quarter of an hour

A manifest is planned in a process of its own, once with nothing there and once with half of it prepared; asked is
what the driver's memory comes to at its peak. What cannot be had on this machine is reckoned from the rates that
`benchmarks/prepare.py` measured, with the sums shown.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from asked import line
from machine import facts, made_by
from scale_model import CLIPS_A_SHARD, DRIVER_MEMORY, Rates, limits, needs, table, workloads
from tiny_video import FRAMES, SIZE, tiny_video

from emotion_ray.data.clips import ROWS_PER_GROUP, Clip, clips_to_table
from emotion_ray.data.plan import make_plan
from emotion_ray.data.ravdess import ACTORS, archive
from emotion_ray.data.storage import Folder
from emotion_ray.real_clips import RAVDESS_CODES, real_clips
from emotion_ray.settings import PrepareSettings

ACTORS_HERE = 5_000
CORES = 2  # that the rates of prepare.json were measured with
TAKES_OF_24_ACTORS = 24 * 60
GRAPH_CLIPS = (1_000, 10_000)
MORE_MEMORY = 0.2  # of the driver, at most, for ten times as many
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Arguments:
    """How much to plan, and where to write."""

    rows: int = 1_000_000
    """Takes of the manifest; half of them are there when it is planned the second time."""
    rates: Path = HERE.parent / "results" / "benchmarks" / "prepare.json"
    """What benchmarks/prepare.py measured."""
    graph: bool = False
    """Run 1,000 and 10,000 tiny videos through Ray, too."""
    page: Path | None = None
    """File for the page."""
    json: Path | None = None
    """File for the figures."""


def write_manifest(path: Path, rows: int, video: str = "") -> None:
    """A manifest of `rows` takes of 5,000 actors, each of `video` or of a file of its own (which is not there)."""
    with path.open("w") as file:
        file.write("path,label,actor,clip_id\n")
        for row in range(rows):
            number, actor = divmod(row, ACTORS_HERE)
            clip_id = f"actor-{actor:04d}-take-{number:05d}"
            file.write(f"{video or f'videos/actor_{actor:04d}/take_{number:05d}.mp4'},happy,{actor},{clip_id}\n")


def write_shards(folder: Path, rows: int) -> int:
    """Shards of the manifest's first `rows` takes, in the usual number of files, of clips of one pixel."""
    blank = clips_to_table([_blank_clip()] * CLIPS_A_SHARD)
    firsts = range(0, rows, CLIPS_A_SHARD)
    for first in firsts:
        takes = [divmod(row, ACTORS_HERE) for row in range(first, min(first + CLIPS_A_SHARD, rows))]
        ids = pa.array([f"actor-{actor:04d}-take-{number:05d}" for number, actor in takes])
        shard = blank.slice(0, len(takes)).set_column(0, blank.schema.field("clip_id"), ids)
        target = folder / "shards" / f"Actor_{takes[0][1]:04d}"
        target.mkdir(parents=True, exist_ok=True)
        pq.write_table(shard, target / f"clips-{first:08d}.parquet", row_group_size=ROWS_PER_GROUP)
    return len(firsts)


def _blank_clip() -> Clip:
    frames = np.zeros((1, 1, 1, 3), np.uint8)
    one, box = np.zeros(1, np.float32), np.zeros((1, 4), np.float32)
    found = np.ones(1, np.uint8)
    return Clip("", 0, 2, None, None, None, None, frames, 1, found, box, one, one, 30.0, "", 0, "")


def plan(manifest: Path, out: Path) -> dict[str, float]:
    """Plans a manifest as the job does.

    Returns:
        seconds of CPU time, bytes of memory before and at the peak, and the takes left to do.
    """
    settings = PrepareSettings(source=str(manifest), out=str(out))
    before, began = _peak_bytes(), time.process_time()
    planned = make_plan(settings)
    planned_s = time.process_time() - began
    planned.take_stock(Folder.at(out))
    stock_s = time.process_time() - began - planned_s
    left = sum(len(work.takes) for work in planned.work())
    return {
        "planned_s": planned_s,
        "stock_s": stock_s,
        "work_s": time.process_time() - began - planned_s - stock_s,
        "before_bytes": before,
        "peak_bytes": _peak_bytes(),
        "takes": len(planned.at_hand),
        "left": left,
    }


def prepare(manifest: Path, root: Path) -> dict[str, float]:
    """Runs the job on a manifest of tiny videos, as its driver."""
    from rich.console import Console

    from emotion_ray.distributed.prepare import prepare

    settings = PrepareSettings(source=str(manifest), root=str(root), frames=FRAMES, size=SIZE)
    done = prepare(settings, Console(quiet=True))
    return {"clips": done.made, "seconds": done.seconds, "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """The most memory that this program has had (since it began: ru_maxrss would tell of its parent's, too)."""
    status = Path("/proc/self/status").read_text()
    return next(int(one.split()[1]) * 1024 for one in status.splitlines() if one.startswith("VmHWM"))


def alone(function: Callable[..., dict], *arguments: object) -> dict:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def planning(folder: Path, rows: int) -> dict[str, dict]:
    """Plans `rows` takes with nothing there, and with half of them there."""
    manifest = folder / "takes.csv"
    write_manifest(manifest, rows)
    fresh = alone(plan, manifest, folder / "nothing")
    shards = write_shards(folder / "half", rows // 2)
    resumed = alone(plan, manifest, folder / "half")
    return {
        "fresh": fresh,
        "resumed": resumed | {"shards": shards},
        "manifest": {"bytes": manifest.stat().st_size, "rows": rows},
    }


def graph(folder: Path) -> dict[str, dict]:
    """The whole job with a thousand and with ten thousand tiny videos."""
    (folder / "tiny.mp4").write_bytes(tiny_video())
    runs = {}
    for clips in GRAPH_CLIPS:
        manifest = folder / f"tiny-{clips}.csv"
        write_manifest(manifest, clips, "tiny.mp4")
        runs[str(clips)] = alone(prepare, manifest, folder / f"root-{clips}")
    return runs


def takes_of_ravdess() -> dict[str, float]:
    """Bytes and seconds of a real take: the mean of four."""
    clips = real_clips()
    paths = [clips[name] for name in RAVDESS_CODES]
    seconds = 0.0
    for path in paths:
        with av.open(str(path)) as file:
            seconds += file.duration / av.time_base
    return {"bytes": sum(path.stat().st_size for path in paths) / len(paths), "seconds": seconds / len(paths)}


def main(arguments: Arguments) -> int:
    measured = json.loads(arguments.rates.read_text())
    with tempfile.TemporaryDirectory() as home:
        found = planning(Path(home), arguments.rows)
        found["graph"] = graph(Path(home)) if arguments.graph else None
    fresh, resumed = found["fresh"], found["resumed"]
    take = takes_of_ravdess()
    driver_rate = None
    if found["graph"]:
        most = found["graph"][str(GRAPH_CLIPS[-1])]
        driver_rate = most["clips"] / most["seconds"]
    rates = Rates(
        clips_a_second_a_core=measured["rates"]["ray_clips_a_second"] / CORES,
        video_bytes=take["bytes"],
        video_s=take["seconds"],
        manifest_bytes=found["manifest"]["bytes"] / arguments.rows,
        planned_bytes=(resumed["peak_bytes"] - resumed["before_bytes"]) / arguments.rows,
        driver_bytes=resumed["before_bytes"],
        planned_s=fresh["planned_s"] / arguments.rows,
        shard_s=resumed["stock_s"] / resumed["shards"],
        driver_clips_a_second=driver_rate,
    )
    met = _report(found, arguments.rows)
    about = facts() | {"rates_from": f"commit {measured['commit']}, {measured['hardware']}"}
    if arguments.json:
        text = json.dumps({**about, "rates": asdict(rates), **found}, indent=2)
        arguments.json.write_text(text + "\n")
    if arguments.page:
        arguments.page.write_text(_page(about, rates, found, arguments.rows))
    return 0 if met else 1


def _report(found: dict, rows: int) -> bool:
    """Prints a line for each thing asked; whether all are met."""
    results = []
    for name, left in (("fresh", rows), ("resumed", rows - rows // 2)):
        one = found[name]
        exact = (one["takes"], one["left"]) == (rows, left)
        results.append(exact and one["peak_bytes"] < DRIVER_MEMORY)
        got = f"{one['peak_bytes'] / 1e9:.2f} GB, {one['left']:,} left to do"
        line(results[-1], f"planning {rows:,} takes, {name}", f"under 2 GB, {left:,} left to do", got)
    if found["graph"]:
        few, many = (found["graph"][str(clips)] for clips in GRAPH_CLIPS)
        exact = (few["clips"], many["clips"]) == GRAPH_CLIPS
        more = many["peak_bytes"] / few["peak_bytes"] - 1
        results.append(exact and more <= MORE_MEMORY)
        got = f"{many['clips']:,} clips, {more:+.0%}"
        line(results[-1], "driver's memory with 10,000 clips against 1,000", "10,000 clips, at most +20%", got)
    return all(results)


def _page(about: dict, rates: Rates, found: dict, rows: int) -> str:
    """The page: what was tried, what is reckoned, and what gives way first."""
    tried = [
        (
            f"{rows:,} takes planned, {what}",
            f"{one['planned_s']:.1f} s to read the manifest, {one['stock_s']:.1f} s to take stock",
            f"{one['peak_bytes'] / 1e9:.2f} GB",
            f"{one['left']:,}",
        )
        for what, one in (("nothing there", found["fresh"]), ("half of them there", found["resumed"]))
    ]
    tried += [
        (
            f"{run['clips']:,} tiny videos through Ray",
            f"{run['seconds']:.0f} s",
            f"{run['peak_bytes'] / 1e9:.2f} GB",
            "0",
        )
        for run in (found["graph"] or {}).values()
    ]
    graph_is = "" if found["graph"] else " How many clips one driver can feed was not measured: that is `--graph`."
    parts = [
        "# How far preparing goes",
        f"{made_by('scale.py --graph' if found['graph'] else 'scale.py', about, 'scale')} The rate of cropping is "
        f"`benchmarks/prepare.py`'s, {about['rates_from']}.",
        "## Tried",
        table(("what", "time", "driver's memory at its peak", "left to do"), tried),
        "Planning is told in seconds of CPU time, the runs through Ray in seconds that went by.",
        "## Reckoned",
        f"From {rates.clips_a_second_a_core:.2f} clips a second a core (60 frames of 720p, the whole job on Ray), real "
        f"takes of {rates.video_bytes / 1e6:.2f} MB and {rates.video_s:.2f} s, and what was tried above. No such run "
        "was made: more cores are taken to do as much more, up to the limits below.",
    ]
    sizes = sum(archive(actor).bytes or 0 for actor in ACTORS)
    for work in workloads(rates, TAKES_OF_24_ACTORS, sizes):
        parts += [f"### {work.name}: {work.takes:,} takes", table(("what", "takes", "sum"), needs(work, rates))]
    parts += [
        "## What gives way first",
        f"Of cores first, then of clips, the nearest first.{graph_is}",
        table(("limit", "at", "sum"), limits(rates)),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
