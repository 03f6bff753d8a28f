"""Summarise a processed table here, or in Spark where it is large.

Both give the same: the functions that read rows are the same, and all that comes back are counts and a few rows.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa

from fer_pipeline.data.spark.mapping import map_rows, repeated_values
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.table.parts import read_parts
from fer_pipeline.data.validate.summary import COLUMNS, EXAMPLES, Summary, summarize

HERE_ROWS: Final = 1_000_000
"""Most rows that one process reads itself; tables of more are read in Spark."""

_BATCH = 4_096
_PARTIAL: Final = pa.schema([pa.field("summary", pa.binary(), nullable=False)])
_LOOKED_UP: Final = ("id", "row", "split", "label", "content_hash", "contrast", "flat", "augmented")


def read_summary(parts: pa.Table, master: str) -> Summary:
    """Summarise the row groups that a table of `PARTS` names.

    Ids that occur more than once are faults of id. Raises `SourceError` for unreadable files, `ToolUnavailableError` where
    Spark fails.
    """
    if _rows(parts) <= HERE_ROWS:
        found = summarize(read_parts(parts.to_batches(), COLUMNS, _BATCH))
        ids = Counter(row_id for batch in read_parts(parts.to_batches(), ["id"], _BATCH) for row_id in batch["id"].to_pylist())
        repeated = sorted((row_id, count) for row_id, count in ids.items() if count > 1 and row_id is not None)
        total = sum(count for _, count in repeated)
    else:
        with spark_session(master) as session:
            [row] = map_rows(session, parts, _summaries, _PARTIAL, ["summary"], _merged, _PARTIAL)
            found = pickle.loads(row["summary"])  # of our own executors
            repeated, total = repeated_values(session, parts, _ids, "id", EXAMPLES)
    found.values["id"] = found.rows
    found.faults["id"] = total
    found.examples["id"] = [(row_id, row_id) for row_id, count in repeated for _ in range(count)][:EXAMPLES]
    return found


def find_rows(parts: pa.Table, master: str, rows: frozenset[int], hashes: frozenset[str]) -> list[dict[str, Any]]:
    """Return rows by number or by content hash, in order, without augmented ones.

    Of each hash, only the first row in train is returned.
    """

    def find(found: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
        for batch in read_parts(found, _LOOKED_UP, _BATCH):
            frame = batch.to_pandas()
            seen = frame["content_hash"].isin(hashes) & (frame["split"] == "train")
            yield from frame[(frame["row"].isin(rows) | seen) & ~frame["augmented"]].to_dict("records")

    if not rows and not hashes:
        return []
    if _rows(parts) <= HERE_ROWS:
        return _chosen(find(parts.to_batches()), rows)
    with spark_session(master) as session:

        def mapped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield _packed(_chosen(find(batches), rows))

        def joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield _packed(_chosen((row for part in _unpacked(batches) for row in part), rows))

        [row] = map_rows(session, parts, mapped, _PARTIAL, ["summary"], joined, _PARTIAL)
    chosen: list[dict[str, Any]] = pickle.loads(row["summary"])
    return chosen


def _chosen(found: Iterable[dict[str, Any]], rows: frozenset[int]) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    for row in found:
        if row["row"] in rows:
            chosen[row["id"]] = row
        known = first.get(row["content_hash"])
        if row["split"] == "train" and (known is None or row["row"] < known["row"]):
            first[row["content_hash"]] = row
    chosen |= {row["id"]: row for row in first.values()}
    return sorted(chosen.values(), key=lambda row: (row["row"], row["id"]))


def _summaries(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield _packed(summarize(read_parts(parts, COLUMNS, _BATCH)))


def _merged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    total = Summary()
    for summary in _unpacked(batches):
        total.add(summary)
    yield _packed(total)


def _ids(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from read_parts(parts, ["id"], _BATCH)


def _packed(value: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"summary": pickle.dumps(value)}], _PARTIAL)


def _unpacked(batches: Iterator[pa.RecordBatch]) -> Iterator[Any]:
    for batch in batches:
        for row in batch.to_pylist():
            yield pickle.loads(row["summary"])


def _rows(parts: pa.Table) -> int:
    return sum(parts["rows"].to_pylist())
