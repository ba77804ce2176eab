"""What data a folder of clips was made of: its name and licence, for model cards and reports."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from emotion_ray.data.prepared import RECORD, read_record, sources_of
from emotion_ray.data.storage import Folder
from emotion_ray.settings.prepare import BASE_URL

_FIELDS = ("name", "synthetic", "licence")


@dataclass(frozen=True)
class Provenance:
    """Where clips come from: what a card, a report and the service tell of it, so no path of this machine.

    Attributes:
        name: of the data set, or of the synthetic sample's size.
        synthetic: whether it is the synthetic sample, whose figures say nothing about faces.
        licence: of the data; "not stated" where that is not known.
    """

    name: str
    synthetic: bool = False
    licence: str = "not stated"

    @property
    def label(self) -> str:
        """The name to show beside figures; the synthetic sample is always called that."""
        return f"the synthetic sample ({self.name})" if self.synthetic else self.name


RAVDESS = Provenance("RAVDESS", licence="CC BY-NC-SA 4.0")


def read_provenance(folder: Folder) -> Provenance:
    """What the record of a folder of clips says of their data; of clips without a record nothing is known.

    Raises:
        EmotionRayError: the record can't be read.
    """
    record = read_record(folder) if folder.exists(RECORD) else {}
    data = record.get("data")
    if isinstance(data, dict):
        return Provenance(**{"name": "unknown data", **{key: data[key] for key in _FIELDS if key in data}})
    found = list(dict.fromkeys(_guessed(**source) for source in sources_of(record)))
    if len(found) <= 1:
        return found[0] if found else Provenance("unknown data")
    licences = "; ".join(f"{one.name}: {one.licence}" for one in found)
    return Provenance(" and ".join(one.name for one in found), licence=licences)


def _guessed(source: str, base_url: str | None) -> Provenance:
    if source != "zenodo":
        return Provenance(f"videos of {Path(source).name or source}")
    base_url = str(base_url)
    return RAVDESS if base_url.rstrip("/") == BASE_URL else Provenance(f"takes from {urlsplit(base_url).hostname}")
