"""What lies beside the data is passed over and counted; what is the data is told by content."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from fer_pipeline.errors import SourceError
from tests.data.fetch.packing import FER2013, PIXELS, Fetched, tarred, tree, zipped

TRAIN_CSV = f'emotion,pixels\n0,"{PIXELS}"\n'


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("labels.csv", b"", "1 empty or damaged tables, left out: labels.csv"),
        ("labels.csv", b"pth,label\nhappy/1.jpg,happy\n", "1 tables of other columns, left out: labels.csv"),
        ("labels.csv.gz", b"\x1f\x8bdamaged", "1 empty or damaged tables, left out: labels.csv.gz"),
        ("labels.csv", b"x" * 140_000, "1 empty or damaged tables, left out: labels.csv"),
        ("faces.zip", b"PK", "1 archives beside the data, left out: faces.zip"),
        ("old/faces.tar.gz", b"\x1f\x8b", "1 archives beside the data, left out: old/faces.tar.gz"),
        ("faces.7z", b"7z", "1 files packed as 7z, left out: faces.7z"),
        ("faces.part1.rar", b"Rar!", "1 files packed as rar, left out: faces.part1.rar"),
        ("faces.tar.xz", b"\xfd7z", "1 files packed as xz, left out: faces.tar.xz"),
        ("LICENSE", b"text", "1 other files (without ending), left out: LICENSE"),
        ("happy/1.PSD", b"8BPS", "1 other files (.psd), left out: happy/1.PSD"),
    ],
)
def test_what_lies_beside_pictures_is_counted(name: str, content: bytes, note: str, tmp_path: Path, fetched: Fetched) -> None:
    source = tree(tmp_path / "faces", "happy/1.jpg", "sad/1.tif", name)
    (source / name).write_bytes(content)
    metadata, rows = fetched(source)
    assert [row["name"] for row in rows] == ["happy/1.jpg", "sad/1.tif"]
    assert metadata.notes == (note,)


@pytest.mark.parametrize("form", ["zip", "folder with zip", "folder"])
def test_the_archive_of_the_challenge_is_read(form: str, tmp_path: Path, fetched: Fetched) -> None:
    """It holds all rows as icml_face_data.csv, a part of them as train.csv, and an archive."""
    members = {
        "icml_face_data.csv": f"emotion, Usage, pixels\n0,Training,{PIXELS}\n4,PublicTest,{PIXELS}\n".encode(),
        "train.csv": TRAIN_CSV.encode(),
        "test.csv": f'pixels\n"{PIXELS}"\n'.encode(),
        "example_submission.csv": b"id,emotion\n1,0\n",
        "fer2013.tar.gz": b"\x1f\x8b",
    }
    if form == "folder":
        source = tree(tmp_path / "challenge", *members)
        for name, content in members.items():
            (source / name).write_bytes(content)
    else:
        (tmp_path / "source").mkdir()
        source = zipped(tmp_path / "source" / "challenge.zip", members)
        source = source.parent if form.startswith("folder") else source
    metadata, rows = fetched(source)
    assert metadata.kind == "icml-csv"
    assert [row["emotion"] for row in rows] == ["0", "4"]
    assert metadata.notes == (
        "1 tables without labels, left out: test.csv",
        "1 tables of other columns, left out: example_submission.csv",
        "1 tables without splits beside icml_face_data.csv, left out: train.csv",
        "1 archives beside the data, left out: fer2013.tar.gz",
    )


@pytest.mark.parametrize("name", ["fer2013", "fer2013.csv", "fer2013.data"])
@pytest.mark.parametrize("form", ["csv", "gz", "tar", "tar.gz", "zip"])
def test_a_file_under_a_wrong_name_is_told_by_content(form: str, name: str, tmp_path: Path, fetched: Fetched) -> None:
    """`fer data add FILE` copies it into a folder, where it must be what it was as a file."""
    (tmp_path / "source").mkdir()
    content = FER2013.encode()
    made = tmp_path / f"made.{form}"
    match form:
        case "csv":
            made.write_bytes(content)
        case "gz":
            made.write_bytes(gzip.compress(content))
        case "zip":
            zipped(made, {"fer2013.csv": content})
        case _:
            tarred(made, {"fer2013.csv": content})
    made.rename(tmp_path / "source" / name)
    assert len(fetched(tmp_path / "source")[1]) == len(fetched(tmp_path / "source" / name)[1]) == 3


@pytest.mark.parametrize(
    "header", [",emotion,pixels,Usage", "Unnamed: 0,emotion,Usage,pixels", "pixels,name,usage,Emotion", "file,emotion,pixels"]
)
def test_an_index_and_further_columns_are_not_read(header: str, tmp_path: Path, fetched: Fetched) -> None:
    cells = {"emotion": "3.0", "pixels": PIXELS, "usage": "Training"}
    line = ",".join(cells.get(name.lower(), "x") for name in header.split(","))
    (tmp_path / "x.csv").write_text(f"{header}\n{line}\n")
    metadata, rows = fetched(tmp_path / "x.csv")
    assert [(row["emotion"], row["pixels"], row["usage"]) for row in rows] == [("3.0", PIXELS, "Training")]
    assert any("columns, not read" in note for note in metadata.notes)


def test_split_folders_may_stand_in_their_like(tmp_path: Path, fetched: Fetched) -> None:
    source = tree(tmp_path / "fer", "train/train/happy/1.jpg", "test/test/test/sad/1.jpg", "validation/sad/1.jpg")
    metadata, rows = fetched(source)
    assert metadata.rows_per_usage == {"test": 1, "train": 1, "validation": 1}
    assert [row["name"] for row in rows][1] == "train/train/happy/1.jpg"


@pytest.mark.parametrize("what", ["pictures", "table"])
def test_names_in_a_tar_may_be_no_utf8(what: str, tmp_path: Path, fetched: Fetched) -> None:
    name, content = ("happy/caf\udce9.jpg", b"x") if what == "pictures" else ("caf\udce9.csv", FER2013.encode())
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as packed:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        packed.addfile(info, io.BytesIO(content))
    assert os.fsencode(name) in (tmp_path / "x.tar").read_bytes()
    metadata, rows = fetched(tmp_path / "x.tar")
    assert rows[0]["name"] == ("happy/caf\\udce9.jpg" if what == "pictures" else "caf\\udce9.csv:2")
    assert metadata.notes == ()


@pytest.mark.parametrize("says_utf8", [False, True])
def test_names_of_old_zips_are_read_or_refused(says_utf8: bool, tmp_path: Path, fetched: Fetched) -> None:
    """Without the flag of UTF-8 they are in the code page of DOS; with it, other bytes are no names."""
    name = "happy/cafe.jpg" if not says_utf8 else "happy/caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg"
    path = zipped(tmp_path / "x.zip", {name: b"x"})
    packed = name.encode().removeprefix(b"happy/")
    path.write_bytes(path.read_bytes().replace(packed, b"caf\x82" + b"\x82" * says_utf8 + b".jpg"))
    if says_utf8:
        with pytest.raises(SourceError, match="which is no UTF-8 although the archive says so: unpack it"):
            fetched(path)
    else:
        assert [row["name"] for row in fetched(path)[1]] == ["happy/caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg"]
