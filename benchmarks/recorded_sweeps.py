"""Sweeps without stopping, each kept as a Parquet file once it has ended.

A row is a trial: `config`, its settings as JSON, and `history`, the records of its epochs. The file's metadata tell
what the sweep was and how it came about.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from replay import Recorded

from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError

ABOUT = b"sweep"


def keep(path: Path, trials: list[Recorded], sweep: dict, made: dict[str, str]) -> None:
    """Writes a sweep.

    Args:
        trials: in the order in which they were drawn.
        sweep: what it was, for `kept`.
        made: with what it was made, see `machine.facts`.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    rows = [{"config": json.dumps(trial.config), "history": trial.history} for trial in trials]
    about = {ABOUT: json.dumps({"sweep": sweep, "made": made})}
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(about), content, compression="zstd")
    Folder.at(path.parent).publish(path.name, content.getvalue())


def kept(path: Path, sweep: dict) -> tuple[list[Recorded], dict[str, str]] | None:
    """A sweep that was written, and with what it was made; None where there is no file.

    Raises:
        EmotionRayError: the file is of another sweep.
    """
    if not path.exists():
        return None
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[ABOUT])
    if about["sweep"] != sweep:
        raise EmotionRayError(f"{path} is of another sweep: remove it, or give another --records")
    return [Recorded(json.loads(row["config"]), row["history"]) for row in table.to_pylist()], about["made"]
