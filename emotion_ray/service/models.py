"""The models that are served: what the store holds, the last used of them loaded."""

import logging
import threading
import time
from collections import OrderedDict
from typing import Any

from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.best_model import best_model, recorded_figure
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import LoadedModel, list_models, load_stored
from emotion_ray.service.problems import Problem, busy

LISTED_FOR_S = 2.0  # a new model is seen after this at the latest
SHOWN_NAMES = 20
log = logging.getLogger(__name__)


class Models:
    """Models of one store, by name. A new one is there as soon as the store has it, with no restart.

    May be used from several threads.

    Args:
        store: its folder, a path or URI.
        default: name of the model that serves where none is named; None: the best by recorded UAR.
        most_loaded: models kept in memory.
    """

    def __init__(self, store: str, default: str | None = None, most_loaded: int = 4):
        self._store = store
        self._default = default
        self._most_loaded = most_loaded
        self._loaded: OrderedDict[tuple[str, str], LoadedModel] = OrderedDict()
        self._records: dict[str, ModelRecord] = {}
        self._listed_at = float("-inf")
        self._listing = threading.Lock()
        self._lock = threading.Lock()
        self._loading = threading.Lock()  # held for seconds: what is loaded already can be had meanwhile

    def records(self) -> dict[str, ModelRecord]:
        """What is known of each model that can be read, by name."""
        return dict(self._list())

    def get(self, name: str | None) -> LoadedModel:
        """A model ready for use, the default one for None.

        Raises:
            Problem: 404 or 503; there is no such model, or none at all, or it can't be read.
        """
        records = self._list()
        if name is None:
            name = self._default_of(records)
        if name not in records:
            names = ", ".join(sorted(records)[:SHOWN_NAMES]) or "none"
            raise Problem(404, "unknown_model", f"There is no model of that name; there are: {names}.")
        key = name, records[name].created
        if model := self._held(key):
            return model
        with self._loading:
            if model := self._held(key):
                return model
            try:
                model = load_stored(self._store, name)
            except EmotionRayError:
                raise busy(f"The model {name} can't be loaded now.", 503) from None
        with self._lock:
            self._loaded[key] = model
            if len(self._loaded) > self._most_loaded:
                self._loaded.popitem(last=False)
        return model

    def _held(self, key: tuple[str, str]) -> LoadedModel | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def describe(self) -> dict[str, Any]:
        """The models for a person to choose from: plain values for JSON."""
        records = self.records()
        try:
            default = self._default_of(records)
        except Problem:
            default = None
        return {"default": default, "models": [_described(name, record) for name, record in sorted(records.items())]}

    def _list(self) -> dict[str, ModelRecord]:
        """What is there. One thread looks, which may take seconds; meanwhile others get what was there before."""
        if time.monotonic() - self._listed_at > LISTED_FOR_S and self._listing.acquire(blocking=not self._records):
            try:
                if time.monotonic() - self._listed_at > LISTED_FOR_S:
                    self._records = self._found()
                    self._listed_at = time.monotonic()
            finally:
                self._listing.release()
        return self._records

    def _found(self) -> dict[str, ModelRecord]:
        try:
            found = list_models(self._store)
        except EmotionRayError as error:
            if not self._records:
                raise
            log.warning("%s; going on with the models known before", error)
            return self._records
        return {name: record for name, record in found.items() if isinstance(record, ModelRecord)}

    def _default_of(self, records: dict[str, ModelRecord]) -> str:
        if self._default in records:
            return self._default
        if self._default is not None:
            raise busy(f"The model {self._default}, which is to answer, is not there.", 503)
        best = best_model(records)
        if best is None:
            raise busy("There is no model yet: `emotion-ray train` makes one.", 503)
        return best


def _described(name: str, record: ModelRecord) -> dict[str, Any]:
    return {
        "name": name,
        "architecture": record.architecture,
        "labels": list(record.labels),
        "frames": record.frames,
        "created": record.created,
        "uar": recorded_figure(record, "uar"),
        "war": recorded_figure(record, "war"),
        "protocol": record.protocol,
        "data": str(record.data.get("name", "")),
        "synthetic": bool(record.data.get("synthetic", False)),
    }
