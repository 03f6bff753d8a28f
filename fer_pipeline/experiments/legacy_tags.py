"""Translate tags and metric names that earlier releases wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fer_pipeline.experiments.records import metric_name

# Versions registered until November 2026 carry these tags and values; they are read, so that one can be rolled back to.
_KEYS: Final = {"crowned": "promoted_at", "rolled_back": "rolled_back_at"}
_VALUES: Final = {("gate", "overtaken"): "superseded"}


def current_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags under today's keys and values.

    A tag that is there under both keys has its newer value.
    """
    renamed = {_KEYS[key]: value for key, value in tags.items() if key in _KEYS}
    kept = {key: _VALUES.get((key, value), value) for key, value in tags.items() if key not in _KEYS}
    return renamed | kept


def current_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a run under today's names.

    Until December 2026 they were flat. A metric that is there under both names, of a training that went on, has its newer value.
    """
    earlier = {metric_name(key): value for key, value in metrics.items() if "/" not in key}
    return earlier | {key: value for key, value in metrics.items() if "/" in key}


def stored_keys(key: str) -> tuple[str, ...]:
    """Return the keys under which the store may hold a tag, today's first."""
    return (key, *(old for old, new in _KEYS.items() if new == key))
