"""The figures to go by: which of an evaluation's they are, and a table of them for the console."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table

from emotion_ray.learning.predictions import DataFacts
from emotion_ray.learning.summaries import Summary

PROTOCOL_NAMES = {"actor": "unseen actors", "random": "random split", "stored": "tested as it is"}


def is_headline(summary: Summary) -> bool:
    """Whether these are the figures to show for a protocol: not selected on the clips that they are of."""
    return (summary.protocol, summary.choice) in (("actor", "best"), ("random", "last"), ("stored", "best"))


def headline_table(summaries: Iterable[Summary], data: DataFacts) -> Table:
    """UAR and accuracy of each model by each protocol, with their 95% intervals over actors."""
    caption = "in brackets: 95% intervals over actors; control: permuted labels; chance: 12.5%"
    title = f"{data.label}: {data.clips} clips of {data.actors} actors"
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD)
    for name in ("model", "tested on"):
        table.add_column(name)
    for name in ("UAR, %", "accuracy, %"):
        table.add_column(name, no_wrap=True)
    for one in filter(is_headline, summaries):
        control = " (control)" if one.labels == "permuted" else ""
        table.add_row(one.model, f"{PROTOCOL_NAMES[one.protocol]}{control}", one.uar.percent(), one.war.percent())
    return table
