from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fer_pipeline.data.table.reader import ProcessedTable, read_metadata
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.schemas import PROCESSED


def rewrite(processed: Path, **columns: list[object]) -> None:
    path = processed / "faces" / "part-0.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(
            table.schema.get_field_index(name), PROCESSED.field(name), pa.array(values, PROCESSED.field(name).type)
        )
    pq.write_table(table, path)


def test_a_split_holds_its_own_rows_in_order_of_id(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    processed = make_processed(tmp_path / "p", {"train": 14, "test": 7})
    faces = ProcessedTable.open(processed).split("test")
    assert faces.images.shape == (7, 48, 48, 1)
    assert faces.images.dtype == np.uint8
    assert faces.ids.tolist() == [f"{14 + row:08d}" for row in range(7)]
    assert set(faces.labels) <= set(range(7))
    assert faces.unseen.tolist() == [False, False, True, True, True, True, True]
    assert faces.votes is None
    assert ProcessedTable.open(processed).metadata["source"] == {"synthetic": True, "name": "stripes"}


def test_votes_of_some_rows_leave_nan_in_the_others(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    processed = make_processed(tmp_path / "p", {"train": 7})
    rewrite(processed, votes=[[0, 10, *[0] * 8], *[None] * 6])
    votes = ProcessedTable.open(processed).split("train").votes
    assert votes is not None
    assert votes.shape == (7, 10)
    assert votes[0, 1] == 10
    assert np.isnan(votes[1:]).all()


def test_the_source_s_own_words_for_a_split_are_kept(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    processed = make_processed(tmp_path / "p", {"train": 7})
    rewrite(processed, usage=["Training"] * 6 + [None])
    assert ProcessedTable.open(processed).split("train").usages == ("Training",)


def test_equal_pixels_in_another_order_have_another_fingerprint(make_stripes: Callable[[int, int], object]) -> None:
    one, same, other = make_stripes(14, 0), make_stripes(14, 0), make_stripes(14, 1)
    assert one.fingerprint == same.fingerprint != other.fingerprint  # type: ignore[attr-defined]


def test_a_picture_of_the_wrong_size_is_named(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    processed = make_processed(tmp_path / "p", {"train": 7})
    rewrite(processed, image=[b"\0" * 2304] * 6 + [b"\0" * 2303])
    with pytest.raises(DataQualityError, match="row 00000006 has a picture of 2303 bytes"):
        ProcessedTable.open(processed).split("train")


def test_a_label_of_7_is_refused(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    processed = make_processed(tmp_path / "p", {"train": 7})
    rewrite(processed, label=[0, 1, 2, 3, 4, 5, 7])
    with pytest.raises(DataQualityError, match=r"labels hold \[7\]"):
        ProcessedTable.open(processed).split("train")


def test_empty_split_missing_table_and_metadata_are_errors(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    """An empty split a missing table and missing facts are told apart."""
    processed = make_processed(tmp_path / "p", {"train": 7})
    with pytest.raises(DataQualityError, match="no rows of split test"):
        ProcessedTable.open(processed).split("test")
    with pytest.raises(SourceError, match="fer preprocess"):
        ProcessedTable.open(tmp_path / "nowhere").split("test")
    with pytest.raises(SourceError, match=r"facts\.json cannot be read"):
        read_metadata(tmp_path / "nowhere")


def test_columns_batches_and_hashes_are_those_of_the_rows(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    table = ProcessedTable.open(make_processed(tmp_path / "p", {"train": 7, "test": 14}))
    assert table.hashes("test") == {f"{row:08d}": f"{row:032x}" for row in range(7, 21)}
    test = ds.field("split") == "test"
    assert sorted(table.columns(["row"], test)["row"].to_pylist()) == list(range(7, 21))
    assert sum(batch.num_rows for batch in table.batches(["label"], test)) == 14
    parts, schema = table.parts()
    assert schema.equals(PROCESSED)
    assert sum(parts["rows"].to_pylist()) == 21


def test_each_way_to_read_damaged_files_says_what_to_do(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    table = ProcessedTable.open(make_processed(tmp_path / "p", {"train": 7}))
    (table.path / "faces" / "part-0.parquet").write_bytes(b"PAR1")
    train = ds.field("split") == "train"
    for read in (
        lambda: table.split("train"),
        lambda: table.hashes("train"),
        lambda: table.columns(["id"], train),
        lambda: list(table.batches(["id"], train)),
    ):
        with pytest.raises(SourceError, match=r"(?s)cannot be read as the processed table.*run `fer preprocess` again"):
            read()
    with pytest.raises(SourceError, match=r"(?s)part-0.parquet cannot be read as Parquet.*run `fer preprocess` again"):
        table.parts()


def test_an_unknown_split_is_refused(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    table = ProcessedTable.open(make_processed(tmp_path / "p", {"train": 7}))
    with pytest.raises(SourceError, match="no split 'dev', expected one of train, validation, test"):
        table.split("dev")
