"""Fetch of CSV files, packed and not, and of FER+ votes: each layout gives the rows it holds, nothing is judged."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_pipeline.data import raw_table
from fer_pipeline.data.fetch import csv_tables
from fer_pipeline.errors import SourceError
from tests.data.fetch.packing import FER2013, PIXELS, VOTES, Fetched, packed_as

PACKED = ("plain", "gz", "zip", "zip of gz", "tar.gz", "tar")
FORMS = (*PACKED, *(f"folder with {form}" for form in PACKED))


@pytest.mark.parametrize("form", FORMS)
def test_fer2013_csv_is_read_however_it_is_packed(form: str, tmp_path: Path, fetched: Fetched) -> None:
    metadata, rows = fetched(packed_as(form, tmp_path, "fer2013.csv", FER2013.encode()))
    assert metadata.kind == "fer2013-csv"
    assert metadata.rows_per_usage == {"Training": 1, "PublicTest": 1, "PrivateTest": 1}
    assert rows[1] == {
        "row": 1,
        "name": "fer2013.csv:3",
        "emotion": "3",
        "usage": "PublicTest",
        "pixels": PIXELS,
        "image": None,
        "votes": None,
    }
    assert not metadata.synthetic
    assert metadata.seed is None
    assert not metadata.has_votes


@pytest.mark.parametrize(
    ("name", "text", "kind", "usages"),
    [
        (
            "icml_face_data.csv",
            f"emotion, Usage, pixels\n0,Training,{PIXELS}\n4, PublicTest,{PIXELS}\n",
            "icml-csv",
            ["Training", "PublicTest"],
        ),
        ("train.csv", f'emotion,pixels\n0,"{PIXELS}"\n4,"{PIXELS}"\n', "challenge-csv", ["Training", "Training"]),
        ("fer2013.csv", FER2013.replace("\n", "\r\n").rsplit("6,", 1)[0], "fer2013-csv", ["Training", "PublicTest"]),
        ("bom.csv", "\ufeff" + FER2013.rsplit("6,", 1)[0], "fer2013-csv", ["Training", "PublicTest"]),
        ("any.name", FER2013.rsplit("6,", 1)[0], "fer2013-csv", ["Training", "PublicTest"]),
    ],
    ids=["columns with blanks", "challenge, quoted", "Windows line ends", "byte order mark", "no .csv in the name"],
)
def test_each_csv_shape_is_told_by_its_header(
    name: str, text: str, kind: str, usages: list[str], tmp_path: Path, fetched: Fetched
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    metadata, rows = fetched(tmp_path / name)
    assert metadata.kind == kind
    assert [row["usage"] for row in rows] == usages
    assert [row["pixels"] for row in rows] == [PIXELS, PIXELS]


def test_rows_are_kept_as_they_are_found_and_not_judged(tmp_path: Path, fetched: Fetched) -> None:
    lines = [
        f"9,{PIXELS},Training",
        f"angry,{PIXELS},Elsewhere",
        f"1,{PIXELS.rsplit(' ', 1)[0]},Training",
        "2,256 -1 x,Training",
        "",
        f"3,{PIXELS}",
        f"4,{PIXELS},Training,more",
        ',,""',
        '5,"1 2 3,Training',
        f"6,{PIXELS},Training",
    ]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(lines) + "\n")
    metadata, rows = fetched(tmp_path / "fer2013.csv")
    assert [row["name"].split(":")[1] for row in rows] == ["2", "3", "4", "5", "7", "8", "9", "10", "11"]
    assert [row["emotion"] for row in rows] == ["9", "angry", "1", "2", "3", "4", "", "5", "6"]
    assert [row["usage"] for row in rows] == [
        "Training",
        "Elsewhere",
        "Training",
        "Training",
        None,
        "Training",
        "",
        None,
        "Training",
    ]
    assert len(rows[2]["pixels"].split()) == 2303
    assert rows[3]["pixels"] == "256 -1 x"
    assert [row["pixels"] for row in rows[4:]] == [None, None, "", None, PIXELS]
    assert metadata.notes == (
        "1 blank lines left out: fer2013.csv:6",
        "3 lines with a wrong number of columns: fer2013.csv:7 (2, expected 3), fer2013.csv:8 (4, expected 3), "
        "fer2013.csv:10 (2, expected 3)",
    )


def test_an_unlabelled_test_csv_is_left_out_and_noted(tmp_path: Path, fetched: Fetched) -> None:
    """Train csv with test csv leaves the unlabelled out and says so."""
    source = tmp_path / "challenge"
    source.mkdir()
    (source / "train.csv").write_text(f'emotion,pixels\n0,"{PIXELS}"\n')
    (source / "test.csv").write_text(f'pixels\n"{PIXELS}"\n')
    (source / "example_submission.csv").write_text("id,emotion\n1,0\n")
    metadata, rows = fetched(source)
    assert (metadata.kind, len(rows)) == ("challenge-csv", 1)
    assert metadata.notes == (
        "1 tables without labels, left out: test.csv",
        "1 tables of other columns, left out: example_submission.csv",
    )


@pytest.mark.parametrize("form", ["plain", "gz", "zip", "tar.gz"])
def test_fer_plus_votes_join_by_row(form: str, tmp_path: Path, fetched: Fetched) -> None:
    source = tmp_path / "source"
    source.mkdir()
    packed_as(form, source, "fer2013.csv", FER2013.encode())
    (source / "fer2013new.csv").write_text(VOTES)
    metadata, rows = fetched(source)
    assert metadata.has_votes
    assert [row["votes"] for row in rows] == [
        [4, 0, 0, 1, 3, 2, 0, 0, 0, 0],
        [0, 10, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    ]
    assert len(metadata.files) == 2
    assert {len(file.sha256) for file in metadata.files} == {64}


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (VOTES.rsplit("PrivateTest", 1)[0], "has 2 rows of votes, the data 3"),
        (VOTES + "Training,x,0,0,0,0,0,0,0,0,0,0\n", "has 4 rows of votes, the data 3"),
        (VOTES.replace("PublicTest", "Training"), r"fer2013new.csv:3 has Usage 'Training', fer2013.csv:3 has 'PublicTest'"),
        (VOTES.replace("0,10,0", "0,11,0"), "fer2013new.csv:3 holds .* expected usage, name and ten counts of 0..10"),
        (VOTES.replace("0,10,0", "0,x,0"), "ten counts"),
        (VOTES.replace("0,10,0", "10,0"), "ten counts"),
    ],
    ids=["too few", "too many", "other usage", "count above 10", "no number", "a column too few"],
)
def test_votes_that_do_not_fit_are_refused(votes: str, message: str, tmp_path: Path, fetched: Fetched) -> None:
    (tmp_path / "fer2013.csv").write_text(FER2013)
    (tmp_path / "fer2013new.csv").write_text(votes)
    with pytest.raises(SourceError, match=message):
        fetched(tmp_path)


def test_a_bad_row_does_not_hide_that_the_votes_fit(tmp_path: Path, fetched: Fetched) -> None:
    (tmp_path / "fer2013.csv").write_text(FER2013.replace(",PublicTest", ""))
    (tmp_path / "fer2013new.csv").write_text(VOTES)
    _, rows = fetched(tmp_path)
    assert rows[1]["pixels"] is None
    assert rows[1]["votes"] == [0, 10, 0, 0, 0, 0, 0, 0, 0, 0]


def test_groups_of_rows_are_bounded_in_number_and_bytes(
    tmp_path: Path, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_table, "GROUP_ROWS", 4)
    monkeypatch.setattr(raw_table, "GROUP_BYTES", 25)
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "0,1,Training\n" * 9 + f"0,{'1 ' * 20},Training\n" * 2)
    fetched(tmp_path / "fer2013.csv")
    groups = pq.ParquetFile(tmp_path / "out/raw/faces.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [4, 4, 2, 1]


def test_many_different_usages_are_counted_together(tmp_path: Path, fetched: Fetched) -> None:
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "".join(f"0,1,u{i}\n" for i in range(80)))
    metadata, _ = fetched(tmp_path / "fer2013.csv")
    assert sum(metadata.rows_per_usage.values()) == 80
    assert metadata.rows_per_usage[raw_table.OTHER_USAGES] == 30


def test_the_longest_line_fits_the_csv_field_limit() -> None:
    """The longest line stays below the csv module's field limit."""
    assert csv.field_size_limit() > csv_tables.MAX_LINE
