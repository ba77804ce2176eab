"""The commands that get clips: prepare, export."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from emotion_ray.cli.output import Flat, console_for, print_json, without_talk
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.settings import PrepareSettings, check_on_disk, default_root

if TYPE_CHECKING:
    from emotion_ray.data.takes import RejectedTake
    from emotion_ray.distributed.prepare import Preparation


def prepare(settings: Flat[PrepareSettings], start_anew: bool = False, json: bool = False) -> None:
    """From archives, folders or manifests of videos to face clips.

    Examples: `emotion-ray prepare --actors 1-10`, `emotion-ray prepare --source videos/ --detector exact`,
    `emotion-ray prepare --source takes.csv --out clips/`.

    Args:
        settings: what to prepare and how.
        start_anew: first remove what earlier runs made in the folder of the clips.
        json: print the result as JSON.
    """
    from emotion_ray.distributed.prepare import prepare as run

    console = console_for(json)
    with without_talk(json):
        done = run(settings, console, start_anew)
    if json:
        print_json(
            clips=sum(row.total() for row in done.counts.values()),
            made=done.made,
            seconds=round(done.seconds, 1),
            rejects=[reject.__dict__ for reject in done.rejects],
            out=done.folder.uri,
        )
        return
    _show(done, console)


def export(png: str, clips: str | None = None, json: bool = False) -> None:
    """Writes clips as image files, Actor_XX/<clip_id>/NNN.png.

    Examples: `emotion-ray export --png faces/`, `emotion-ray export --png faces/ --clips s3://bucket/clips`.

    Args:
        png: folder to write to.
        clips: folder of the clips. Default: clips under `$EMOTION_RAY_HOME` or `~/emotion_ray`.
        json: print the result as JSON.
    """
    from emotion_ray.data.export import export_png
    from emotion_ray.data.storage import Folder

    check_on_disk("--png", png)
    count = export_png(Folder.at(clips or f"{default_root()}/clips"), png)
    if json:
        print_json(clips=count, png=png)
        return
    print(f"{count} clips written as PNG to {png}")


def _show(done: "Preparation", console: Console) -> None:
    """Prints what preparing came to."""
    held = sum(row.total() for row in done.counts.values())
    if held:
        console.print(_clips_table(done.counts))
    if done.rejects:
        console.print(_rejects_table(done.rejects))
    speed = f" in {done.seconds:.0f} s, {done.made / done.seconds:.1f} a second" if done.made else ""
    console.print(f"{done.made} clips made{speed}; {held} clips in {done.folder.uri}", soft_wrap=True)
    if held:
        console.print(f"look at {done.folder.uri}/contact_sheet.png", soft_wrap=True)


def _clips_table(counts: dict) -> Table:
    table = Table(title="clips by actor and emotion", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))  # 76 columns
    for name in ("actor", *EMOTIONS, "all"):
        table.add_column(name, justify="right")
    for actor, row in counts.items():
        table.add_row(str(actor), *(str(row[emotion]) for emotion in range(len(EMOTIONS))), str(row.total()))
    return table


def _rejects_table(rejects: "list[RejectedTake]") -> Table:
    table = Table(title="rejects", box=SIMPLE_HEAD)
    for name in ("stage", "reason", "count", "for example"):
        table.add_column(name, overflow="fold")
    by_reason: dict[tuple[str, str], list[RejectedTake]] = {}
    for reject in rejects:
        by_reason.setdefault((reject.stage, reject.reason), []).append(reject)
    for (stage, reason), those in sorted(by_reason.items()):
        table.add_row(stage, reason, str(len(those)), those[0].message)
    return table
