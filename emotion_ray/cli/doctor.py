"""The command that looks whether all is there: doctor."""

from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from emotion_ray.cli.output import console_for, print_json
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import default_root

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(root: str | None = None, json: bool = False) -> None:
    """Looks whether everything that the commands need is there, and says what to do where it is not.

    Nothing is started or changed. The exit code is 1 where something will not run.

    Examples: `emotion-ray doctor`, `emotion-ray doctor --root s3://bucket/emotion_ray --json`.

    Args:
        root: folder under which everything is made. Default: `$EMOTION_RAY_HOME` or `~/emotion_ray`.
        json: print the findings as JSON.
    """
    from emotion_ray.doctor import examine

    findings = examine(root or default_root())
    if json:
        print_json(findings=[asdict(one) for one in findings])
    else:
        table = Table(box=SIMPLE_HEAD)
        for name in ("what", "", "found", "to do"):
            table.add_column(name, overflow="fold")
        for one in findings:
            table.add_row(one.name, Text(one.status, COLOURS[one.status]), one.detail, one.advice)
        console_for(json).print(table)
    failed = [one.name for one in findings if one.status == "fail"]
    if failed:
        raise EmotionRayError(f"something will not run: {', '.join(failed)}; do what the findings say")
