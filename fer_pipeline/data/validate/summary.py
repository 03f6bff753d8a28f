"""Summarise the rows of a processed table in counts and a few examples.

The result is the same however the rows are divided: sums are of whole numbers, and examples are the first in an order of their
own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fer_pipeline import schemas
from fer_pipeline.data.validate.row_checks import ROW_CHECKS
from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, SYNONYMS

COLUMNS: Final = tuple(name for name in schemas.PROCESSED.names if name != "usage")
"""The columns that are read; of `image` its length alone is used."""

MEASURED_SPLITS: Final = ("validation", "test")
"""Splits whose images must not be in train."""

LIGHT: Final = {"brightness": 255.0, "contrast": 128.0}
"""Upper ends of the histograms of both columns."""

BINS: Final = 48
EXAMPLES: Final = 20
SAMPLES, LEAKS, PALE = 8, 12, 16

_MICRO: Final = 1_000_000  # gray levels are summed in millionths, as whole numbers
_SEED: Final = 0
_REQUIRED: Final = [item.name for item in schemas.PROCESSED if not item.nullable and item.name != "image"]
_FLAGS: Final = [item.name for item in schemas.PROCESSED if pa.types.is_boolean(item.type)]
_SHOWN: Final = ["id", "row", "split", "label", "content_hash", "contrast", "flat"]
_FERPLUS_LABELS: Final = np.array([SYNONYMS.get(word, word) for word in FERPLUS_COLUMNS])

Row = dict[str, Any]


@dataclass
class Summary:
    """Counts over rows of a processed table.

    `values` and `faults` count values and those that are not allowed by column of `ROW_CHECKS`, `examples` hold the first of the
    latter with the id of their row. `groups` counts rows by split, label and augmented; `light` sums the columns of `LIGHT` by
    split and column in millionths, with their number, `bins` are their histograms; `in_train` counts rows by split; all three
    leave augmented rows out. `decided` and `agreeing` count rows by label where FER+ votes name one of the seven emotions, and
    where it is that of the label. The other lists hold rows to show, each with its sort key first.
    """

    rows: int = 0
    values: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    groups: Counter[tuple[str, int, bool]] = field(default_factory=Counter)
    light: Counter[tuple[str, str]] = field(default_factory=Counter)
    lit: Counter[tuple[str, str]] = field(default_factory=Counter)
    bins: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    in_train: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    decided: Counter[int] = field(default_factory=Counter)
    agreeing: Counter[int] = field(default_factory=Counter)
    shown: dict[str, list[tuple[Any, Row]]] = field(default_factory=dict)

    def mean(self, split: str, column: str) -> float:
        """Return the mean of a column of `LIGHT` in a split; NaN where it has no value."""
        number = self.lit[split, column]
        return self.light[split, column] / _MICRO / number if number else float("nan")

    def add(self, other: Summary) -> None:
        """Add the counts of other rows."""
        self.rows += other.rows
        for name in ("values", "faults", "groups", "light", "lit", "bins", "in_train", "counted", "decided", "agreeing"):
            getattr(self, name).update(getattr(other, name))
        for column, found in other.examples.items():
            self.examples[column] = sorted([*self.examples.get(column, []), *found], key=lambda pair: pair[1])[:EXAMPLES]
        for kind, rows in other.shown.items():
            most = {"leaks": LEAKS, "pale": PALE}.get(kind, SAMPLES)
            self.shown[kind] = sorted([*self.shown.get(kind, []), *rows], key=lambda pair: pair[0])[:most]


def summarize(batches: Iterable[pa.RecordBatch]) -> Summary:
    """Summarise batches with the columns `COLUMNS`, in the memory of one batch."""
    total = Summary()
    for batch in batches:
        if batch.num_rows:
            total.add(_summary(_frame(batch)))
    return total


def _frame(batch: pa.RecordBatch) -> pd.DataFrame:
    columns = {name: batch.column(batch.schema.get_field_index(name)) for name in batch.schema.names}
    columns["image_length"] = pc.binary_length(columns.pop("image"))
    frame: pd.DataFrame = pa.table(columns).to_pandas()
    frame["votes_sum"] = [np.nan if votes is None else float(np.sum(votes)) for votes in frame["votes"]]
    frame["nulls"] = frame[[*_REQUIRED, "image_length"]].isna().sum(axis=1)
    return frame


def _summary(frame: pd.DataFrame) -> Summary:
    found = Summary(rows=len(frame))
    for check in ROW_CHECKS:
        values = frame[check.column].dropna()
        wrong = values[~check.allowed(values).astype(bool)]
        found.values[check.column] += len(values)
        if len(wrong):
            found.faults[check.column] += len(wrong)
            ids = frame.loc[wrong.index, "id"].astype(str)
            pairs = sorted(zip(map(str, wrong), ids, strict=True), key=lambda pair: pair[1])
            found.examples[check.column] = pairs[:EXAMPLES]
    flags = {name: frame[name].eq(True) for name in _FLAGS}  # null counts as false
    frame = frame.assign(**flags, label=frame["label"].fillna(-1).astype(int), split=frame["split"].fillna(""))
    found.groups.update(Counter(zip(frame["split"], frame["label"], frame["augmented"], strict=True)))
    own = frame[~frame["augmented"]]
    _measure_light(found, own)
    _count_flags(found, frame)
    for split, rows in own.groupby("split"):
        found.in_train[str(split)] += int(rows["in_train"].sum())
    _count_votes(found, own)
    _show(found, frame)
    return found


def _measure_light(found: Summary, rows: pd.DataFrame) -> None:
    for split, part in rows.groupby("split"):
        for column, top in LIGHT.items():
            values = part[column].dropna().to_numpy(np.float64)
            found.light[str(split), column] += int(np.rint(values * _MICRO).sum())
            found.lit[str(split), column] += len(values)
            for number, count in enumerate(np.histogram(values, BINS, (0, top))[0].tolist()):
                found.bins[str(split), column, number] += count


def _count_flags(found: Summary, rows: pd.DataFrame) -> None:
    measured = rows["split"].isin(MEASURED_SPLITS)
    found.counted["leaking"] += int((measured & rows["in_train"]).sum())
    found.counted["near_leaking"] += int((measured & rows["near_in_train"] & ~rows["in_train"]).sum())
    found.counted["low_contrast"] += int((rows["low_contrast"] & ~rows["flat"]).sum())


def _count_votes(found: Summary, rows: pd.DataFrame) -> None:
    voted = rows[rows["votes"].notna() & rows["label"].between(0, len(EMOTIONS) - 1)]
    voted = voted[[len(votes) == len(FERPLUS_COLUMNS) for votes in voted["votes"]]]
    if voted.empty:
        return
    votes = np.array(voted["votes"].tolist())  # (N, 10)
    words = _FERPLUS_LABELS[votes.argmax(axis=1)]
    clear = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    decided = clear & np.isin(words, EMOTIONS)
    labels = voted["label"].to_numpy()
    found.decided.update(labels[decided].tolist())
    found.agreeing.update(labels[decided & (words == np.array(EMOTIONS)[labels])].tolist())


def _show(found: Summary, frame: pd.DataFrame) -> None:
    train = frame[frame["split"] == "train"]
    for label, rows in train.groupby("label"):
        drawn = sorted((_draw(row_id), at) for at, row_id in rows["id"].astype(str).items())[:SAMPLES]
        found.shown[f"samples-{label}"] = list(
            zip((key for key, _ in drawn), _rows(frame.loc[[at for _, at in drawn]]), strict=True)
        )
    leaks = frame[frame["split"].isin(MEASURED_SPLITS) & frame["in_train"] & ~frame["augmented"]]
    found.shown["leaks"] = [((row["row"], row["id"]), row) for row in _rows(leaks.nsmallest(LEAKS, "row"))]
    pale = frame[frame["flat"] | frame["low_contrast"]]
    first = pale.sort_values(["contrast", "row"])[:PALE]
    found.shown["pale"] = [((row["contrast"], row["row"], row["id"]), row) for row in _rows(first)]


def _draw(row_id: str) -> str:
    """Return the key by which samples are drawn: a seeded hash of the id."""
    return hashlib.blake2b(f"{_SEED}-{row_id}".encode(), digest_size=8).hexdigest()


def _rows(frame: pd.DataFrame) -> list[Row]:
    columns = {name: frame[name].tolist() for name in _SHOWN}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
