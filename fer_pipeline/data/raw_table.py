"""Write raw rows to data/raw/faces.parquet in constant memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.schemas import RAW

GROUP_ROWS: Final = 2_000
"""Most rows of one parquet row group."""

GROUP_BYTES: Final = 64 * 2**20
"""A row group is closed when its pictures and pixel strings reach this many bytes."""

NO_USAGE: Final = "(none)"
"""How rows without a usage are named where rows are counted per usage."""

OTHER_USAGES: Final = "(other)"
"""Where usages are counted beyond the first `MAX_USAGES` different ones (a damaged file can hold a new one in each row)."""

MAX_USAGES: Final = 50


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of the source as it was found; see `schemas.RAW`.

    A row that could not be read has neither pixels nor image.
    """

    name: str
    emotion: str | None = None
    usage: str | None = None
    pixels: str | None = None
    image: bytes | None = None
    votes: tuple[int, ...] | None = None


@dataclass
class Notes:
    """Counts of findings of a reader, with the first examples of each."""

    examples: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, finding: str, example: str) -> None:
        """Count one more `finding`, and keep the first ten examples of it."""
        self.counts[finding] += 1
        if self.counts[finding] <= 10:
            readable = example.encode("utf-8", "backslashreplace").decode()  # a name of a file may be no UTF-8
            self.examples.setdefault(finding, []).append(readable)

    def texts(self) -> tuple[str, ...]:
        """Return one line per finding: "3 files that are no pictures: a.txt, ..."."""
        return tuple(
            f"{count:,} {finding}: {', '.join(self.examples[finding])}{', ...' if count > 10 else ''}"
            for finding, count in self.counts.items()
        )


def write_rows(rows: Iterable[RawRow], target: Path) -> Counter[str]:
    """Write a parquet file of `schemas.RAW`; return the number of rows per usage.

    Rows are numbered from 0. Raises `ToolUnavailableError` where the disk is full or not writable.
    """
    counts: Counter[str] = Counter()
    try:
        with pq.ParquetWriter(target, RAW, compression="zstd", use_dictionary=["emotion", "usage"]) as writer:
            for group in _groups(rows, counts):
                writer.write_table(pa.Table.from_pylist(group, schema=RAW))
    except OSError as error:  # of the output alone: readers raise SourceError for what they read
        raise ToolUnavailableError(f"{target} cannot be written ({error}): free space, or change its owner or mode") from error
    return counts


def _groups(rows: Iterable[RawRow], counts: Counter[str]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for number, row in enumerate(rows):
        usage = row.usage if row.usage is not None else NO_USAGE
        counts[usage if usage in counts or len(counts) < MAX_USAGES else OTHER_USAGES] += 1
        group.append({"row": number, **{name: getattr(row, name) for name in RawRow.__slots__}})
        size += len(row.pixels or "") + len(row.image or b"")
        if len(group) >= GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
