"""Checks of single rows: which values of a column are allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pandas as pd

from fer_pipeline import schemas
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.labels import EMOTIONS


@dataclass(frozen=True)
class RowCheck:
    """Condition on each value of a column; nulls are not asked.

    `allowed` maps the values of a batch, without nulls, to bool. At least `mostly` of all values must be allowed.
    """

    column: str
    name: str
    expected: str
    note: str
    allowed: Callable[[pd.Series], pd.Series]
    mostly: float = 1.0
    severity: str = "critical"


def _among(*values: object) -> Callable[[pd.Series], pd.Series]:
    return lambda column: column.isin(values)


def _between(low: float, high: float) -> Callable[[pd.Series], pd.Series]:
    return lambda column: column.between(low, high)


def _like(pattern: str) -> Callable[[pd.Series], pd.Series]:
    return lambda column: column.astype(str).str.fullmatch(pattern)


VOTES_CHECK: Final = RowCheck(
    "votes_sum", "FER+ votes", "8..10 votes in 99 % of rows", "Ten people judged each picture.", _between(8, 10), 0.99, "warning"
)
"""Asked where the table has votes."""

ROW_CHECKS: Final = (
    RowCheck("nulls", "required values", "no nulls in required columns", "Only usage and votes may be null.", _among(0)),
    RowCheck("label", "labels", f"0..{len(EMOTIONS) - 1}", f"Index into {', '.join(EMOTIONS)}.", _among(*range(len(EMOTIONS)))),
    RowCheck("split", "splits", ", ".join(schemas.SPLITS), "The three split names.", _among(*schemas.SPLITS)),
    RowCheck(
        "image_length",
        "picture size",
        f"{FACE_SIZE**2:,} bytes ({FACE_SIZE}x{FACE_SIZE} gray)",
        "What each network takes in.",
        _among(FACE_SIZE**2),
    ),
    RowCheck("content_hash", "content hashes", "32 hex digits", "Copies are found by them.", _like("[0-9a-f]{32}")),
    RowCheck(
        "perceptual_hash", "perceptual hashes", "16 hex digits", "Near-equal pictures are found by them.", _like("[0-9a-f]{16}")
    ),
    RowCheck("brightness", "brightness of each picture", "0..255", "Mean gray value.", _between(0, 255)),
    RowCheck("contrast", "contrast of each picture", "0..127.5", "Standard deviation.", _between(0, 127.5)),
    VOTES_CHECK,
)
"""All of them, in the order of the page."""
