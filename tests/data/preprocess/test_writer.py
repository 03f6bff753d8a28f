"""What keeps preprocess right where the table exceeds a machine: places without one large window, files written by executors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession, Window, functions as sf

from fer_pipeline.data.preprocess.duplicates import EXAMPLES, duplicate_statistics, mark_copies
from fer_pipeline.data.preprocess.ranking import bucket_of, rank_in_group
from fer_pipeline.data.preprocess.writer import Target, file_rows, part_writer
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.storage.local import LocalLocation
from fer_pipeline.data.table.files import FILES_FILE, listed_files
from fer_pipeline.errors import SourceError

SCHEMA = pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("kind", pa.string(), nullable=False)])


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with spark_session("local[2]") as session:
        yield session


def batches(rows: int, size: int) -> Iterator[pa.RecordBatch]:
    kinds = ["even" if row % 2 == 0 else "odd" for row in range(rows)]
    table = pa.table({"row": range(100, 100 + rows), "kind": kinds}, schema=SCHEMA)
    yield from table.to_batches(max_chunksize=size)


def test_places_are_those_of_one_window_over_the_group(spark: SparkSession) -> None:
    random = np.random.default_rng(0)
    values = [(n, int(random.integers(3)), int(random.integers(1, 9))) for n in range(3000)]
    rows = spark.createDataFrame(values, "row long, label int, size long").withColumn(
        "key", sf.sha2(sf.col("row").cast("string"), 256)
    )
    placed = rank_in_group(rows.withColumn("bucket", bucket_of(sf.col("key"))), "label", "bucket", ["key"], "size")
    order = Window.partitionBy("label").orderBy("key")
    before = sf.coalesce(sf.sum("size").over(order.rowsBetween(Window.unboundedPreceding, -1)), sf.lit(0))
    wanted = rows.select("row", sf.row_number().over(order), before, sf.count("*").over(Window.partitionBy("label")))
    found = placed.select("row", "position", "before", "last")
    assert sorted(map(tuple, found.collect())) == sorted(map(tuple, wanted.collect()))


def test_of_very_many_copies_only_the_first_are_named(spark: SparkSession) -> None:
    """Of a picture with very many copies only the first are named."""
    values = [(row, "same", row % 2, "train", "Training", False) for row in range(500)]
    rows = spark.createDataFrame(values, "row long, content_hash string, label int, split string, usage string, flat boolean")
    metadata = duplicate_statistics(mark_copies(rows))
    assert metadata["redundant"] == 499
    assert [member["row"] for member in metadata["largest"][0]] == list(range(EXAMPLES))


@pytest.mark.parametrize(("rows", "expected"), [(1, 8_192), (32_298, 8_192), (8_388_609, 16_384), (100_000_000, 65_536)])
def test_files_grow_with_the_table_so_that_they_stay_few(rows: int, expected: int) -> None:
    assert file_rows(rows) == expected
    assert -(-rows // expected) <= 1_526


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_partition_gives_one_file_however_its_rows_arrive(size: int, tmp_path: Path) -> None:
    """A partition gives one equal file however its rows arrive."""
    out = tmp_path / "out"
    write = part_writer(lambda found: found, SCHEMA, Target(LocalLocation(out)), "part-{}".format, ["kind"], group_rows=16)
    counts = [row for batch in write(batches(150, size)) for row in batch.to_pylist()]
    (file,) = out.iterdir()
    of_file = {"file": "part-100", "bytes": file.stat().st_size, "rows": 75}
    assert sorted(counts, key=str) == [{"kind": "even", **of_file}, {"kind": "odd", **of_file}]
    assert file.name == "part-100"
    whole = pa.Table.from_batches(batches(150, 150))
    pq.write_table(whole, tmp_path / "expected", row_group_size=16)
    first = file.read_bytes()
    assert first == (tmp_path / "expected").read_bytes()
    list(write(batches(150, 3)))  # Spark runs it again where a worker died
    assert file.read_bytes() == first


def test_a_partition_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def fail(found: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield next(found)
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(part_writer(fail, SCHEMA, Target(LocalLocation(tmp_path)), str, ["kind"], group_rows=4)(batches(50, 10)))
    assert list(part_writer(lambda found: found, SCHEMA, Target(LocalLocation(tmp_path)), str, ["kind"], 4)(iter([]))) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_store_is_named_by_its_content(tmp_path: Path) -> None:
    target = Target(LocalLocation(tmp_path / "table"), LocalLocation(tmp_path / "store"))
    (tmp_path / "table").mkdir()
    write = part_writer(lambda found: found, SCHEMA, target, "part-{}.parquet".format, ["kind"], group_rows=16)
    found = [row for batch in write(batches(10, 3)) for row in batch.to_pylist()]
    list(write(batches(11, 3)))
    names = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert len(names) == 2, "another content overwrites nothing"
    assert all(re.fullmatch(r"part-100-[0-9a-f]{16}\.parquet", name) for name in names)
    target.finish({(row["file"], row["bytes"]) for row in found})
    (listed,) = listed_files(LocalLocation(tmp_path / "table")) or []
    with listed.open() as stream:
        assert pq.read_table(stream).num_rows == 10
    (tmp_path / "table" / FILES_FILE).write_text("{}")
    with pytest.raises(SourceError, match="cannot be read as a list of files"):
        listed_files(LocalLocation(tmp_path / "table"))
