"""Translate tags of registered versions that earlier releases wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Until release 0.1.0 of November 2026 a version carried these tags and values; a champion of then can be rolled back to.
_KEYS: Final = {"crowned": "promoted_at", "rolled_back": "rolled_back_at"}
_VALUES: Final = {("gate", "overtaken"): "superseded"}


def current_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags under today's keys and values. A tag that is there under both keys has its newer value."""
    renamed = {_KEYS[key]: value for key, value in tags.items() if key in _KEYS}
    kept = {key: _VALUES.get((key, value), value) for key, value in tags.items() if key not in _KEYS}
    return renamed | kept


def stored_keys(key: str) -> tuple[str, ...]:
    """Return every key under which the store may hold the tag `key`, today's key first."""
    return (key, *(old for old, new in _KEYS.items() if new == key))
