"""Prepare: from archives, folders or manifests of videos to verified face clips, on Ray Data."""

import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import ray
from rich.console import Console

from emotion_ray.data.archive_cache import check_space
from emotion_ray.data.clips import SCHEMA_VERSION, shard_names
from emotion_ray.data.download import DownloadSettings
from emotion_ray.data.http_transfer import shown as without_secrets
from emotion_ray.data.plan import Plan, make_plan
from emotion_ray.data.prepared import (
    REJECTS,
    check_folder,
    check_labels,
    count_clips,
    read_held,
    read_record,
    remove_owned,
    sources_of,
    write_record,
    write_rejects,
)
from emotion_ray.data.ravdess import TAKES_AN_ARCHIVE
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import RejectedTake, Take, synthetic_sample
from emotion_ray.distributed.cluster import Place, connected
from emotion_ray.distributed.crop_graph import Graph
from emotion_ray.distributed.fetch_stage import Failed, Planned
from emotion_ray.distributed.progress import Tally, shown
from emotion_ray.distributed.shared_folder import Mark, check_readable, check_shared, marked
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import PrepareSettings
from emotion_ray.vision.clipping import fingerprint
from emotion_ray.vision.contact_sheet import CONTACT_SHEET, write_contact_sheet

# Takes of one crop task, by round. What is missing after the first, since a worker died, is tried once more, each
# take alone: then one that kills its worker is the only one that is lost.
TAKES_A_TASK = (16, 1)
MOST_TRAVELLING = 8  # of one task, where takes travel: they wait for it in memory
TASKS_A_WORKER = 4  # at least, so that no worker stands idle for long at the end
PACKAGES = ("emotion-ray", "av", "torch", "ray", "pyarrow", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Preparation:
    """What a run of `prepare` came to.

    Attributes:
        folder: where the clips are.
        made: clips made by this run.
        counts: clips in the folder now, by actor and then by emotion 0..7.
        rejects: what could not be used, this run's and earlier ones.
        seconds: of the run, the start of Ray left out.
    """

    folder: Folder
    made: int
    counts: dict[int, Counter]
    rejects: list[RejectedTake]
    seconds: float


def prepare(settings: PrepareSettings, console: Console, start_anew: bool = False) -> Preparation:
    """Makes the clips that are wanted and not there yet; leaves the record, the rejects and the contact sheet.

    Killed at any moment and called again it goes on: what is in the folder is not made again.

    Args:
        start_anew: first remove what earlier runs made in the folder.

    Raises:
        EmotionRayError: nothing can be done: a wrong setting, an unusable folder, a full disk.
    """
    folder = Folder.at(settings.out or f"{settings.root}/clips")
    plan = make_plan(settings)
    record = {
        "schema_version": SCHEMA_VERSION,
        "prepared_with": fingerprint(settings.crop),
        "settings": asdict(settings) | {"base_url": without_secrets(settings.base_url)},
        "versions": {name: version(name) for name in PACKAGES},
        "began": _now(),
        "complete": False,
    }
    sample = synthetic_sample(settings.source, settings.base_url)
    if sample:
        record["data"] = {"name": sample, "synthetic": True, "licence": "public domain"}
    if settings.sampling == "uniform":
        console.print(
            "note: --sampling uniform spreads a clip's frames over the whole take; predict and serve look at windows "
            "of 2 s at 29.97 frames a second, as --sampling first does",
            soft_wrap=True,
        )
    if start_anew:
        remove_owned(folder)
    else:
        check_folder(folder, record)
    plan.take_stock(folder)
    check_labels(folder, plan.at_hand)
    sources = sources_of(read_record(folder)) if plan.held else []
    sources += [one for one in sources_of(record) if one not in sources]
    record |= {"archives": plan.listings, "files": _files(folder), "sources": sources}
    write_record(folder, record)
    before = len(plan.held)
    seconds = 0.0
    if plan.work():
        with connected(settings.workers) as place:
            console.print(f"preparing on {place}; clips go to {folder.uri}", highlight=False, soft_wrap=True)
            flag = "--out" if settings.out else "--root"
            check_shared(folder.path if folder.is_local else folder.uri, flag)
            if plan.at_hand:
                check_readable(str(plan.at_hand[0].path), "--source")
            began = time.monotonic()
            with nullcontext() if place.own else marked(folder, flag) as mark:
                _run(settings, folder, mark, plan, place, console)
            seconds = time.monotonic() - began
    rejects = plan.all_rejects()
    write_rejects(folder, rejects)
    if plan.held:
        write_contact_sheet(folder)
    counts = count_clips(folder)
    record |= {
        "complete": True,
        "ended": _now(),
        "seconds": round(seconds, 1),
        "clips": len(plan.held),
        "clips_made": len(plan.held) - before,
        "clips_by_actor": {str(actor): row.total() for actor, row in counts.items()},
        "rejects": dict(Counter(reject.reason for reject in rejects)),
        "files": _files(folder),
    }
    write_record(folder, record)
    return Preparation(folder, len(plan.held) - before, counts, rejects, seconds)


def _files(folder: Folder) -> list[str]:
    return shard_names(folder) + [name for name in (REJECTS, CONTACT_SHEET) if folder.exists(name)]


def _run(
    settings: PrepareSettings, folder: Folder, mark: Mark | None, plan: Plan, place: Place, console: Console
) -> None:
    """Runs the graph until all that is planned is a clip or a reject."""
    cache = settings.cache_folder
    wanted = [one.archive for one in plan.work() if one.archive]
    if wanted and place.nodes == 1:
        check_space(wanted, cache, DownloadSettings().spare_bytes)
    tally = Tally.remote()
    graph = Graph(
        folder=folder,
        mark=mark,
        cache=cache,
        one_disk=place.own,
        crop=settings.crop,
        choice=plan.choice,
        tally=tally,
        workers=settings.workers or _a_worker_a_cpu(place, console),
        downloads=settings.downloads,
        take_timeout_s=settings.take_timeout_s,
    )
    with shown(tally, console):
        for most in TAKES_A_TASK:
            work = plan.work()
            if not work:
                return
            takes, archives = sum(len(one.takes) for one in work), sum(bool(one.archive) for one in work)
            tally.begin.remote(takes=takes, archives=archives)
            expected = takes + archives * TAKES_AN_ARCHIVE
            most = most if graph.one_disk else min(most, MOST_TRAVELLING)
            for item in graph.run(work, min(most, max(expected // (graph.workers * TASKS_A_WORKER), 1))):
                match item:
                    case Failed():
                        raise EmotionRayError(item.message)
                    case Planned():
                        plan.note_listing(item.archive, item.takes)
                    case RejectedTake():
                        plan.reject(item)
            # the shards tell what is done: a writer may have died after it published
            plan.held = set(read_held(folder))
            plan.reject_the_slow(_given_up(tally), settings.take_timeout_s)
    plan.reject_the_missing()


def _a_worker_a_cpu(place: Place, console: Console) -> int:
    """As many workers as the cluster has CPUs now; one at least, for which a cluster that grows gets a machine."""
    if place.cpus < 1:
        console.print(
            f"{place} has none for a worker yet: waiting for one; "
            "on a cluster that grows give --workers, else add machines",
            soft_wrap=True,
        )
    return max(int(place.cpus), 1)


def _given_up(tally) -> list[Take]:
    try:
        return ray.get(tally.given_up.remote())
    except ray.exceptions.RayError:  # lost: its takes count as missing
        return []


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
