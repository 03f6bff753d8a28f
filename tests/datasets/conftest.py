"""A Spark session per module, and fetching a source and reading back what came out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from fer_pipeline import schemas
from fer_pipeline.config.params import FetchParams
from fer_pipeline.data.fetch.fetch import SourceFacts, fetch
from tests.datasets.packing import Fetched

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def fetched(tmp_path: Path) -> Fetched:
    """Fetches a source and reads the result back."""

    def run(source: Path) -> tuple[SourceFacts, list[dict[str, Any]]]:
        out = tmp_path / "out" / "raw"
        facts = fetch(source, out, FetchParams())
        table = pq.read_table(out / "faces.parquet")
        assert table.schema.equals(schemas.RAW)
        assert json.loads((out / "source.json").read_text())["rows"] == table.num_rows == facts.rows
        rows: list[dict[str, Any]] = table.to_pylist()
        assert [row["row"] for row in rows] == list(range(len(rows)))
        return facts, rows

    return run


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """A session that all `preprocess` of a module work in: each start takes seconds."""
    from fer_pipeline.data.spark.session import spark_session
    from tests.datasets.made_rows import MASTER

    with spark_session(MASTER) as session:
        yield session
