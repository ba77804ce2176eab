"""Which model of a store is used where none is named."""

from collections.abc import Mapping

from emotion_ray.models.record import ModelRecord


def best_model(records: Mapping[str, ModelRecord]) -> str | None:
    """The name of the one with the highest recorded UAR, of equal ones the newest; None where there is none."""
    return max(records, key=lambda name: (recorded_uar(records[name]), records[name].created, name), default=None)


def recorded_uar(record: ModelRecord) -> float:
    """In 0..1; 0 where none was measured."""
    return recorded_figure(record, "uar") or 0.0


def recorded_figure(record: ModelRecord, name: str) -> float | None:
    """A metric in 0..1, such as "war"; None where it was not measured, or is no such number.

    A record holds a number, or it with its interval.
    """
    value = record.metrics.get(name)
    value = value[0] if isinstance(value, (list, tuple)) and value else value
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None
