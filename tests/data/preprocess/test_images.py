"""Images that pass Spark by: tasks, scratch files, and the way back to their rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from fer_pipeline.data.preprocess.images import NARROW, parser, tasks_of, with_images
from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.table.parts import parts_of
from tests.data.made_rows import Row, face, row, write_raw


def parts(folder: Path, rows: list[Row], group: int) -> pa.Table:
    return parts_of([storage_location(write_raw(folder, rows, group) / "faces.parquet")], "fer fetch")[0]


def test_a_part_belongs_to_each_file_that_has_its_rows(tmp_path: Path) -> None:
    tasks = tasks_of(parts(tmp_path, [row(face(0), "1", None)] * 25, 10), 8)
    found = list(zip(tasks["number"].to_pylist(), tasks["group"].to_pylist(), strict=True))
    assert found == [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2)]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_each_row_finds_its_own_image_again(tmp_path: Path, chunk: int) -> None:
    """Each row finds its own image again also where others are faulty or left out."""
    rows = [row(None, "1", "Training") if n % 7 == 3 else row(face(n), "1", "Training") for n in range(20)]
    tasks = tasks_of(parts(tmp_path / "raw", rows, 6), 8)
    scratch = storage_location(tmp_path / "scratch")
    parsed = pa.Table.from_batches(parser(True, 8, scratch)(iter(tasks.to_batches())))
    assert parsed.schema == NARROW
    assert parsed["row"].to_pylist() == list(range(20))
    assert [n for n, reason in enumerate(parsed["reason"].to_pylist()) if reason] == [3, 10, 17]
    kept = parsed.filter(pa.array([reason is None and n != 12 for n, reason in enumerate(parsed["reason"].to_pylist())]))
    for number in range(3):
        own = kept.filter(pa.array([n // 8 == number for n in kept["row"].to_pylist()])).combine_chunks()
        found = pa.Table.from_batches(with_images(8, scratch)(iter(own.to_batches(max_chunksize=chunk))))
        assert found["image"].to_pylist() == [face(n).tobytes() for n in own["row"].to_pylist()]
    assert list(with_images(8, scratch)(iter([]))) == []


@pytest.mark.parametrize(("has_splits", "reason"), [(True, "usage"), (False, None)])
def test_a_row_without_usage_is_a_fault_among_splits(tmp_path: Path, has_splits: bool, reason: str | None) -> None:
    tasks = tasks_of(parts(tmp_path / "raw", [row(face(0), "1", None), row(face(1), "1", "Training")], 5), 8)
    (batch,) = parser(has_splits, 8, storage_location(tmp_path / "scratch"))(iter(tasks.to_batches()))
    assert batch["reason"].to_pylist() == [reason, None]
