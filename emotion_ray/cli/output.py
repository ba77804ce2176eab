"""What the commands have in common: how settings become flags, and where output goes."""

import json
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, redirect_stdout
from typing import TYPE_CHECKING, Annotated, TypeVar

import tyro
from rich.console import Console

if TYPE_CHECKING:  # it takes PyTorch and seconds with it
    from emotion_ray.learning.summaries import Summary

Settings = TypeVar("Settings")

Flat = Annotated[Settings, tyro.conf.arg(name="")]
"""The fields of a settings class as flags of the command itself; those of a class within it keep its name in front."""


def console_for(json: bool) -> Console:
    """Where progress and tables go: aside where the output is JSON."""
    return Console(stderr=json, markup=False, emoji=False, highlight=False)  # names of files may look like markup


def without_talk(json: bool) -> AbstractContextManager:
    """Has what others print while the block runs, such as Ray, go aside where the output is JSON."""
    return redirect_stdout(sys.stderr if json else sys.stdout)


def results_of(summaries: "Iterable[Summary]") -> list[dict]:
    """The figures of models by protocols, for JSON."""
    names = ("model", "protocol", "choice", "labels")
    return [
        {name: getattr(one, name) for name in names} | {"uar": one.uar.value, "war": one.war.value} for one in summaries
    ]


def print_json(**result: object) -> None:
    print(json.dumps(result))
