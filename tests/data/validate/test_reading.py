"""Summaries of a table: here, in Spark, and in batches of any size are one and the same."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline import schemas
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.validate import reading
from fer_pipeline.data.validate.summary import summarize
from tests.data.validate.test_suite import healthy

WHERE = "local[2]"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Three files in row groups of 30, with a fault of each kind, copies in train and augmented rows."""
    rows = healthy()
    for at, change in {
        3: {"id": rows[4]["id"]},
        5: {"label": 7},
        150: {"split": "holiday"},
        160: {"image": b"short", "brightness": 256.0, "votes": [1] * 10},
        170: {"content_hash": rows[0]["content_hash"], "in_train": True, "near_in_train": True},
        180: {"augmented": True, "content_hash": "?", "perceptual_hash": "0"},
        190: {"flat": True, "low_contrast": True, "contrast": 0.0, "votes": None},
    }.items():
        rows[at] |= change
    folder = tmp_path_factory.mktemp("table")
    (folder / "faces").mkdir()
    for number in range(3):
        part = pa.Table.from_pylist(rows[number * 80 : number * 80 + 80], schema=schemas.PROCESSED)
        pq.write_table(part, folder / "faces" / f"part-{number:05d}.parquet", row_group_size=30)
    return ProcessedTable.open(folder).parts()[0]


@pytest.mark.slow  # Spark starts
def test_spark_finds_what_one_process_finds(parts: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    here = reading.read_summary(parts, WHERE)
    assert here.rows == 224
    assert here.faults == {
        **{"id": 2, "label": 1, "split": 1, "image_length": 1, "brightness": 1, "content_hash": 1, "perceptual_hash": 1},
    }
    assert here.examples["id"] == [("00000004", "00000004")] * 2
    wanted = (frozenset({10, 190}), frozenset({here.shown["leaks"][0][1]["content_hash"]}))
    found = reading.find_rows(parts, WHERE, *wanted)
    assert [row["row"] for row in found] == [0, 10, 190], "the two rows, and the first of train with the picture that leaks"
    monkeypatch.setattr(reading, "HERE_ROWS", 0)
    with spark_session(WHERE):
        assert reading.read_summary(parts, WHERE) == here
        assert reading.find_rows(parts, WHERE, *wanted) == found


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_batches_changes_nothing(parts: pa.Table, size: int) -> None:
    table = pa.concat_tables(pq.read_table(file.decode()) for file in sorted(set(parts["file"].to_pylist())))
    batches = table.combine_chunks().to_batches(max_chunksize=size)
    whole = reading.read_summary(parts, WHERE)
    found = summarize(batches)
    for name in ("groups", "light", "bins", "in_train", "counted", "decided", "agreeing", "shown"):
        assert getattr(found, name) == getattr(whole, name), name
