"""Fetching a source and reading back what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fer_pipeline import schemas
from fer_pipeline.config.params import FetchParams
from fer_pipeline.data.fetch.fetch import SourceMetadata, fetch
from tests.data.fetch.packing import Fetched


@pytest.fixture
def fetched(tmp_path: Path) -> Fetched:
    """Fetches a source and reads the result back."""

    def run(source: Path, **params: str) -> tuple[SourceMetadata, list[dict[str, Any]]]:
        out = tmp_path / "out" / "raw"
        metadata = fetch(source, out, FetchParams(**params))
        table = pq.read_table(out / "faces.parquet")
        assert table.schema.equals(schemas.RAW)
        assert json.loads((out / "source.json").read_text())["rows"] == table.num_rows == metadata.rows
        rows: list[dict[str, Any]] = table.to_pylist()
        assert [row["row"] for row in rows] == list(range(len(rows)))
        return metadata, rows

    return run
