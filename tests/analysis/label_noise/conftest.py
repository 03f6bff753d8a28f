"""A table with duplicates and an augmented copy, and predictions for its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.analysis.label_noise.samples import ROWS


@pytest.fixture
def processed(tmp_path: Path, make_processed: Callable[..., Path]) -> Path:
    """84 training rows: each has its own hash, but for rows 0 to 9, which are copies, and row 83, an augmented copy of row 82."""
    folder = make_processed(tmp_path / "processed", {"train": ROWS, "validation": 28, "test": 28})
    file = folder / "faces" / "part-0.parquet"
    table = pq.read_table(file)
    values = {
        "perceptual_hash": ["0" * 16 if row < 10 else f"{row:016x}" for row in range(ROWS)],
        "row": [*range(83), 82],
        "augmented": [*[False] * 83, True],
    }
    for name, column in values.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(column, table.schema.field(name).type))
    pq.write_table(table, file)
    return folder
