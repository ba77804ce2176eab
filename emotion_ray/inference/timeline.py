"""What the faces of a video express through time, as a table and as a picture."""

import csv
import io
import json
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from emotion_ray.inference.analysis import Analysis, TrackSummary

MOST_DRAWN = 12  # faces in a picture, those seen longest
WIDTH, ROW, EDGE = 9.0, 1.9, 0.9  # inches: of the picture, of a face, and what title and axis take


def as_json_lines(analysis: Analysis) -> str:
    """One prediction a line: `track`, `time` in seconds, `label`, `early`, `frames`, `probabilities` by label."""
    return "".join(json.dumps(row) + "\n" for row in _rows(analysis))


def as_csv(analysis: Analysis) -> str:
    """One prediction a row: track, time in seconds, label, early (0 or 1), frames, and a column for each label."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["track", "time", "label", "early", "frames", *analysis.labels])
    for row in _rows(analysis):
        told = row["track"], row["time"], row["label"], int(row["early"]), row["frames"]
        table.writerow([*told, *row["probabilities"].values()])
    return text.getvalue()


TABLES: dict[Literal["jsonl", "csv"], Any] = {"jsonl": as_json_lines, "csv": as_csv}
"""How a table is written, by the file's suffix."""


def _rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    told = [(one, face.track) for face in analysis.faces.values() for one in face.timeline]
    for one, track in sorted(told, key=lambda item: (item[0].time, item[1])):
        yield {
            "track": track,
            "time": round(one.time, 3),
            "label": one.label,
            "early": one.early,
            "frames": one.frames,
            "probabilities": analysis.by_label(one.probabilities),
        }


def picture(analysis: Analysis) -> bytes:
    """A PNG: for each face its probabilities through time, the darker the more probable.

    Brightness alone tells, so that it can be read without colours.
    """
    faces = sorted(analysis.faces.values(), key=lambda face: face.first_s - face.last_s)[:MOST_DRAWN]
    faces.sort(key=lambda face: face.track)
    rows = max(len(faces), 1)
    with rc_context({"font.size": 9, "axes.titlelocation": "left", "axes.titlesize": 9.5}):
        figure = Figure(figsize=(WIDTH, EDGE + ROW * rows), dpi=110, layout="constrained")
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        for place, face in zip(axes, faces, strict=False):
            shading = _draw_face(place, face, analysis)
        if faces:
            bar = figure.colorbar(shading, ax=list(axes), label="probability", fraction=0.03, pad=0.01)
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            axes[0].set_yticks([])
            axes[0].text(0.5, 0.5, "no face was found", ha="center", va="center", transform=axes[0].transAxes)
        axes[-1].set_xlim(0, max(analysis.seconds, 1e-3))
        axes[-1].set_xlabel("seconds")
        left_out = f", {len(faces)} of {len(analysis.faces)} faces" if len(faces) < len(analysis.faces) else ""
        figure.suptitle(f"{_shown(analysis.name)}{left_out}", x=0.01, ha="left", fontsize=10.5)
        png = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a file's name in letters that the font lacks
            figure.savefig(png, format="png")
    return png.getvalue()


def _draw_face(place: Any, face: TrackSummary, analysis: Analysis) -> Any:
    """One face's rows; each prediction holds until the next, as in the annotated video."""
    times = [one.time for one in face.timeline]
    edges = np.array([*times, max([face.last_s + 1 / analysis.fps, *(time + 1e-3 for time in times)])])
    values = np.array([one.probabilities for one in face.timeline]).reshape(-1, len(analysis.labels)).T
    rows = np.arange(len(analysis.labels) + 1) - 0.5
    if not times:
        edges, values = np.array([face.first_s, edges[-1]]), np.zeros((len(analysis.labels), 1))
    elif len(times) == 1 and face.timeline[0].early:
        edges[0] = face.first_s  # what is said at the end of a face seen too briefly is said of all of it
    shading = place.pcolormesh(edges, rows, values, vmin=0, vmax=1, cmap="Blues")
    for one, begin, end in zip(face.timeline, edges, edges[1:], strict=False):
        if one.early:
            place.axvspan(begin, end, fill=False, hatch="//", edgecolor="0.75", linewidth=0)
    place.set_yticks(range(len(analysis.labels)), analysis.labels)
    place.invert_yaxis()
    place.spines[["top", "right"]].set_visible(False)
    place.set_title(f"face {face.track}: {_overall(face, analysis)}")
    return shading


def _overall(face: TrackSummary, analysis: Analysis) -> str:
    told = face.probabilities
    if told is None:
        return "seen too briefly"
    early = ", early estimates only (hatched)" if all(one.early for one in face.timeline) else ""
    return f"{analysis.labels[int(told.argmax())]} {told.max():.0%} on average{early}"


def _shown(name: str) -> str:
    """A file's name as it is: matplotlib would take a dollar sign for mathematics."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable.replace("$", r"\$")
