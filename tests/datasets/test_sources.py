"""Fetch: each layout gives the rows it holds, nothing is judged, and what cannot be read as a whole says why."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fer_pipeline import records
from fer_pipeline.datasets import archives, csv_source, image_folder, raw_table
from fer_pipeline.datasets.sources import SourceFacts, fetch
from fer_pipeline.errors import EnvironmentFault, SourceError
from fer_pipeline.labels import FERPLUS_COLUMNS
from fer_pipeline.params import FetchParams

Fetched = Callable[[Path], tuple[SourceFacts, list[dict[str, Any]]]]

PIXELS = " ".join(str(i % 256) for i in range(48 * 48))
FER2013 = f"emotion,pixels,Usage\n0,{PIXELS},Training\n3,{PIXELS},PublicTest\n6,{PIXELS},PrivateTest\n"
VOTES_HEADER = ",".join(("Usage", "Image name", *FERPLUS_COLUMNS))
VOTES = f"{VOTES_HEADER}\n" + "".join(
    f"{usage},{name},{votes}\n"
    for usage, name, votes in (
        ("Training", "fer0000000.png", "4,0,0,1,3,2,0,0,0,0"),
        ("PublicTest", "fer0028638.png", "0,10,0,0,0,0,0,0,0,0"),
        ("PrivateTest", "", "0,0,0,0,0,0,0,0,0,9"),
    )
)


@pytest.fixture
def fetched(tmp_path: Path) -> Fetched:
    """Fetches a source and reads the result back."""

    def run(source: Path) -> tuple[SourceFacts, list[dict[str, Any]]]:
        out = tmp_path / "out" / "raw"
        facts = fetch(source, out, FetchParams())
        table = pq.read_table(out / "faces.parquet")
        assert table.schema.equals(records.RAW)
        assert json.loads((out / "source.json").read_text())["rows"] == table.num_rows == facts.rows
        rows: list[dict[str, Any]] = table.to_pylist()
        assert [row["row"] for row in rows] == list(range(len(rows)))
        return facts, rows

    return run


def tree(root: Path, *names: str) -> Path:
    """A folder with files whose content is their own name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            if kind == tarfile.SYMTYPE:
                info.linkname = "/etc/passwd"
            packed.addfile(info, io.BytesIO(data))
    return path


def packed_as(form: str, folder: Path, name: str, data: bytes) -> Path:
    match form:
        case "plain":
            (folder / name).write_bytes(data)
            return folder / name
        case "gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            return folder / f"{name}.gz"
        case "zip":
            return zipped(folder / "data.zip", {f"fer/{name}": data, "fer/README": b"about", "__MACOSX/fer/._x.csv": b"\0"})
        case "zip of gz":
            return zipped(folder / "data.zip", {f"{name}.gz": gzip.compress(data)})
        case "tar.gz":
            return tarred(folder / "data.tar.gz", {"fer/README": b"about", f"fer/{name}": data})
        case "tar":
            return tarred(folder / "data.tar", {f"./fer/{name}": data})
        case _:
            inner = folder / "inner"
            inner.mkdir()
            packed_as(form.removeprefix("folder with "), inner, name, data)
            return inner


PACKED = ("plain", "gz", "zip", "zip of gz", "tar.gz", "tar")
FORMS = (*PACKED, *(f"folder with {form}" for form in PACKED))


@pytest.mark.parametrize("form", FORMS)
def test_fer2013_csv_is_read_however_it_is_packed(form: str, tmp_path: Path, fetched: Fetched) -> None:
    facts, rows = fetched(packed_as(form, tmp_path, "fer2013.csv", FER2013.encode()))
    assert facts.kind == "fer2013-csv"
    assert facts.rows_per_usage == {"Training": 1, "PublicTest": 1, "PrivateTest": 1}
    assert rows[1] == {
        "row": 1,
        "name": "fer2013.csv:3",
        "emotion": "3",
        "usage": "PublicTest",
        "pixels": PIXELS,
        "image": None,
        "votes": None,
    }
    assert not facts.synthetic
    assert facts.seed is None
    assert not facts.has_votes


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
    facts, rows = fetched(tmp_path / name)
    assert facts.kind == kind
    assert [row["usage"] for row in rows] == usages
    assert [row["pixels"] for row in rows] == [PIXELS, PIXELS]


def test_rows_are_kept_as_they_are_found_and_not_judged(tmp_path: Path, fetched: Fetched) -> None:
    lines = [
        f"7,{PIXELS},Training",
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
    facts, rows = fetched(tmp_path / "fer2013.csv")
    assert [row["name"].split(":")[1] for row in rows] == ["2", "3", "4", "5", "7", "8", "9", "10", "11"]
    assert [row["emotion"] for row in rows] == ["7", "angry", "1", "2", "3", "4", "", "5", "6"]
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
    assert facts.notes == (
        "1 blank lines left out: fer2013.csv:6",
        "3 lines with a wrong number of columns: fer2013.csv:7 (2, expected 3), fer2013.csv:8 (4, expected 3), "
        "fer2013.csv:10 (2, expected 3)",
    )


def test_train_csv_with_test_csv_leaves_the_unlabelled_out_and_says_so(tmp_path: Path, fetched: Fetched) -> None:
    source = tmp_path / "challenge"
    source.mkdir()
    (source / "train.csv").write_text(f'emotion,pixels\n0,"{PIXELS}"\n')
    (source / "test.csv").write_text(f'pixels\n"{PIXELS}"\n')
    (source / "example_submission.csv").write_text("id,emotion\n1,0\n")
    facts, rows = fetched(source)
    assert (facts.kind, len(rows)) == ("challenge-csv", 1)
    assert facts.notes == (
        "1 tables without labels, left out: test.csv",
        "1 tables of other columns, left out: example_submission.csv",
    )


@pytest.mark.parametrize("form", ["plain", "gz", "zip", "tar.gz"])
def test_fer_plus_votes_join_by_row(form: str, tmp_path: Path, fetched: Fetched) -> None:
    source = tmp_path / "source"
    source.mkdir()
    packed_as(form, source, "fer2013.csv", FER2013.encode())
    (source / "fer2013new.csv").write_text(VOTES)
    facts, rows = fetched(source)
    assert facts.has_votes
    assert [row["votes"] for row in rows] == [
        [4, 0, 0, 1, 3, 2, 0, 0, 0, 0],
        [0, 10, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    ]
    assert len(facts.files) == 2
    assert {len(file.sha256) for file in facts.files} == {64}


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


IMAGE_TREE = (
    "root/Test/ANGER/1.PNG",
    "root/Test/surprised/2.webp",
    "root/Training/0/3.bmp",
    "root/Training/Happiness/4.jpg",
    "root/Training/Happiness/10.jpeg",
    "root/val/neutral/5.png",
)


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz sorted", "tar.gz unsorted", "tar"])
def test_class_folders_give_pictures_in_sorted_order(form: str, tmp_path: Path, fetched: Fetched) -> None:
    extra = ("root/README.txt", "root/.hidden/fear/1.png", "root/Test/ANGER/Thumbs.db", "__MACOSX/root/._1.png")
    names = sorted((*IMAGE_TREE, *extra))
    members = {name: name.encode() for name in names}
    match form:
        case "folder":
            source = tree(tmp_path / "faces", *names)
        case "zip":
            source = zipped(tmp_path / "faces.zip", dict(reversed(members.items())))
        case "tar.gz sorted":
            source = tarred(tmp_path / "faces.tar.gz", members)
        case "tar.gz unsorted":
            source = tarred(tmp_path / "faces.tgz", dict(reversed(members.items())))
        case _:
            source = tarred(tmp_path / "faces.tar", dict(reversed(members.items())))
    facts, rows = fetched(source)
    assert [row["name"] for row in rows] == sorted(IMAGE_TREE)
    assert [row["image"] for row in rows] == [name.encode() for name in sorted(IMAGE_TREE)]
    assert [row["emotion"] for row in rows] == ["ANGER", "surprised", "0", "Happiness", "Happiness", "neutral"]
    assert [row["usage"] for row in rows] == ["test", "test", "train", "train", "train", "validation"]
    assert {row["pixels"] for row in rows} == {None}
    assert facts.kind == "image-folder"
    assert facts.rows_per_usage == {"test": 2, "train": 3, "validation": 1}
    assert facts.notes == ("1 other files, left out: root/README.txt",)


def test_a_flat_tree_has_no_usage(tmp_path: Path, fetched: Fetched) -> None:
    facts, rows = fetched(tree(tmp_path / "faces", "happy/1.jpg", "Sadness/1.jpg"))
    assert [(row["emotion"], row["usage"]) for row in rows] == [("Sadness", None), ("happy", None)]
    assert facts.rows_per_usage == {raw_table.NO_USAGE: 2}


def test_a_changed_picture_changes_the_digest_of_the_tree(tmp_path: Path, fetched: Fetched) -> None:
    source = tree(tmp_path / "faces", "happy/1.jpg", "sad/1.jpg")
    before = fetched(source)[0].files
    assert fetched(source)[0].files == before
    (source / "sad/1.jpg").write_bytes(b"other-1.jpg")
    assert fetched(source)[0].files[0].sha256 != before[0].sha256


def test_a_picture_over_the_limit_keeps_its_row_without_content(
    tmp_path: Path, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folder, "MAX_PICTURE_BYTES", 20)
    source = tree(tmp_path / "faces", "happy/1.jpg", "happy/a-name-of-more-than-twenty-bytes.jpg")
    facts, rows = fetched(source)
    assert [row["image"] for row in rows] == [b"happy/1.jpg", None]
    assert "more than 20 bytes" in facts.notes[0]


def test_a_damaged_picture_in_a_zip_keeps_its_row_without_content(tmp_path: Path, fetched: Fetched) -> None:
    source = tmp_path / "faces.zip"
    with zipfile.ZipFile(source, "w") as packed:
        packed.writestr("happy/1.jpg", b"AAAAAAAA")
        packed.writestr("happy/2.jpg", b"BBBBBBBB")
    source.write_bytes(source.read_bytes().replace(b"AAAAAAAA", b"AAAACAAA"))
    facts, rows = fetched(source)
    assert [row["image"] for row in rows] == [None, b"BBBBBBBB"]
    assert "1 pictures that cannot be read" in facts.notes[0]


def test_links_in_a_folder_are_followed_but_not_in_circles(tmp_path: Path, fetched: Fetched) -> None:
    cache = tree(tmp_path / "cache", "1.jpg")
    source = tree(tmp_path / "faces", "sad/1.jpg")
    (source / "happy").symlink_to(cache)  # as `dvc` with cache.type symlink
    assert len(fetched(source)[1]) == 2
    (source / "fear").symlink_to(source)
    with pytest.raises(SourceError, match="leads back"):
        fetched(source)


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
    facts, _ = fetched(tmp_path / "fer2013.csv")
    assert sum(facts.rows_per_usage.values()) == 80
    assert facts.rows_per_usage[raw_table.OTHER_USAGES] == 30


def text(name: str, content: str) -> Callable[[Path], Path]:
    return lambda folder: packed_as("plain", folder, name, content.encode())


def files(**contents: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name, content in contents.items():
            (folder / f"{name}.csv").write_text(content)
        return folder

    return make


def names(*found: str) -> Callable[[Path], Path]:
    return lambda folder: tree(folder / "faces", *found)


def cut(form: str, keep: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        noisy = "".join(
            f"{i % 7},{' '.join(str((i * 7919 + k * k * 31) % 256) for k in range(500))},Training\n" for i in range(40)
        )
        path = packed_as(form, folder, "fer2013.csv", f"emotion,pixels,Usage\n{noisy}".encode())
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])
        return path

    return make


def encrypted(folder: Path) -> Path:
    path = zipped(folder / "data.zip", {"fer2013.csv": FER2013.encode()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def damaged_member(folder: Path) -> Path:
    path = folder / "data.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("fer2013.csv", FER2013)
    path.write_bytes(path.read_bytes().replace(b"PublicTest", b"PublicTesT"))
    return path


def linked_zip(folder: Path) -> Path:
    info = zipfile.ZipInfo("happy/1.jpg")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(folder / "data.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    return folder / "data.zip"


def dangling(folder: Path) -> Path:
    (folder / "fer2013.csv").symlink_to(folder / "gone")
    return folder


def doubled(folder: Path) -> Path:
    return tarred(folder / "data.tar", {"happy/1.jpg": b"1", "./happy/1.jpg": b"2"})


FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing path": (lambda folder: folder / "nowhere.csv", "nowhere.csv does not exist"),
    "dangling link in a folder": (dangling, "fer2013.csv does not exist"),
    "empty file": (text("fer2013.csv", ""), "fer2013.csv is empty"),
    "empty gzip": (lambda folder: packed_as("gz", folder, "fer2013.csv", b""), "is empty"),
    "blank lines only": (text("fer2013.csv", "\n\n"), "is empty"),
    "header only": (text("fer2013.csv", "emotion,pixels,Usage\n"), "has a header and no rows"),
    "wrong header": (text("fer2013.csv", "label,image\n1,2\n"), r"'label,image', expected `emotion,pixels,Usage`.*train.csv"),
    "no header": (text("fer2013.csv", f"0,{PIXELS},Training\n"), "has the header '0,0 1 2"),
    "a column twice": (text("fer2013.csv", "emotion,emotion,pixels,Usage\n"), "has the header"),
    "binary content": (lambda folder: packed_as("plain", folder, "x.csv", bytes(range(256)) * 9), "has the header"),
    "endless line": (text("fer2013.csv", f"emotion,pixels,Usage\n0,{'1 ' * 70_000},Training\n"), "fer2013.csv:2 is longer than"),
    "truncated gz, early": (cut("gz", 0.01), "fer2013.csv.gz is damaged or ends early"),
    "truncated gz, late": (cut("gz", 0.99), "fer2013.csv.gz is damaged or ends early"),
    "truncated zip": (cut("zip", 0.9), "data.zip is a damaged or incomplete archive"),
    "truncated tar.gz": (cut("tar.gz", 0.5), "data.tar.gz is a damaged or incomplete archive"),
    "damaged member": (damaged_member, "fer2013.csv is damaged"),
    "encrypted zip": (encrypted, "is encrypted"),
    "zip with ../": (
        lambda f: zipped(f / "x.zip", {"../../fer2013.csv": FER2013.encode()}),
        r"'\.\./\.\./fer2013\.csv', which leads out",
    ),
    "zip with ..\\": (lambda f: zipped(f / "x.zip", {"a\\..\\..\\fer2013.csv": FER2013.encode()}), "leads out of the archive"),
    "zip with absolute name": (lambda f: zipped(f / "x.zip", {"/tmp/fer2013.csv": FER2013.encode()}), "leads out of the archive"),
    "zip with drive": (lambda f: zipped(f / "x.zip", {"C:\\fer2013.csv": FER2013.encode()}), "leads out of the archive"),
    "zip with link": (linked_zip, "holds a link"),
    "tar with ../": (lambda f: tarred(f / "x.tar.gz", {"../fer2013.csv": FER2013.encode()}), "leads out of the archive"),
    "tar with link": (lambda f: tarred(f / "x.tar.gz", {"happy/1.jpg": b""}, tarfile.SYMTYPE), "holds a link or device"),
    "tar with pipe": (lambda f: tarred(f / "x.tar.gz", {"happy/1.jpg": b""}, tarfile.FIFOTYPE), "holds a link or device"),
    "a name twice": (doubled, "twice"),
    "empty zip": (lambda f: zipped(f / "x.zip", {}), "holds no faces"),
    "archive in an archive": (
        lambda f: zipped(f / "x.zip", {"inner.zip": b"PK"}),
        "holds an archive in an archive",
    ),
    "folder without images": (names("happy/readme.txt", "sad/notes.md"), "holds no faces: expected a CSV .* or pictures"),
    "empty folder": (lambda folder: folder, "holds no faces"),
    "unknown class": (
        names("train/hapy/1.jpg", "train/sad/1.jpg"),
        r"folder 'hapy' \(train/hapy/1.jpg\) is no emotion.*mean 'happy'",
    ),
    "class of another set": (names("contempt/1.jpg", "sad/1.jpg"), "folder 'contempt' .* move it away, or rename it"),
    "class digit out of range": (names("7/1.jpg"), "folder '7'"),
    "picture without a class": (names("1.jpg", "sad/1.jpg"), "1.jpg lies in no class folder"),
    "a single picture": (text("face.jpg", "x"), "lies in no class folder"),
    "with and without splits": (names("train/sad/1.jpg", "happy/1.jpg"), "do not lie alike"),
    "unknown splits": (names("one/sad/1.jpg", "two/sad/1.jpg"), "class folders stand below 'one' and below 'two'"),
    "test.csv alone": (text("test.csv", f"pixels\n{PIXELS}\n"), "has pixels and no labels .* give train.csv"),
    "votes alone": (text("fer2013new.csv", VOTES), "FER\\+ votes and no faces"),
    "several tables": (files(a=FER2013, b=FER2013), r"holds 2 sources \(a.csv, b.csv\): give one of them"),
    "two files of votes": (files(a=FER2013, b=VOTES, c=VOTES), r"several files of FER\+ votes \(b.csv, c.csv\)"),
    "table and pictures": (
        lambda f: files(a=FER2013)(tree(f / "x", "happy/1.jpg")),
        r"holds 2 sources \(a.csv, 1 pictures\)",
    ),
    "votes with pictures": (lambda f: files(a=VOTES)(tree(f / "x", "happy/1.jpg")), "pictures and FER\\+ votes"),
    "two archives": (
        lambda f: zipped(tarred(f / "a.tar.gz", {}).with_name("b.zip"), {}).parent,
        r"holds 2 sources \(a.tar.gz, b.zip\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_cannot_be_read_says_why_and_leaves_the_old_output(fault: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    (tmp_path / "in").mkdir()
    source = make(tmp_path / "in")
    out = tmp_path / "raw"
    out.mkdir()
    (out / "faces.parquet").write_text("from an earlier run")
    with pytest.raises(SourceError, match=message):
        fetch(source, out, FetchParams())
    assert [path.name for path in tmp_path.iterdir() if path.name != "in"] == ["raw"]
    assert (out / "faces.parquet").read_text() == "from an earlier run"


@pytest.mark.parametrize(
    ("limit", "value", "form", "message"),
    [
        ("RATIO_FREE_BYTES", 1000, "zip", "unpacks to more than"),
        ("RATIO_FREE_BYTES", 1000, "tar.gz", "unpacks to more than"),
        ("RATIO_FREE_BYTES", 1000, "gz", "unpacks to more than"),
        ("MAX_UNPACKED_BYTES", 1000, "zip", "unpacks to more than 1,000 bytes"),
        ("MAX_MEMBERS", 1, "zip", "holds more than 1 files"),
        ("MAX_MEMBERS", 0, "folder with plain", "holds more than 0 files"),
    ],
)
def test_an_archive_over_the_limits_is_refused(
    limit: str, value: int, form: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, limit, value)
    bomb = f"emotion,pixels,Usage\n0,{'0 ' * 60_000},Training\n" + f"0,{'0 ' * 60_000},Training\n" * 10
    source = packed_as(form, tmp_path, "fer2013.csv", bomb.encode())
    with pytest.raises(SourceError, match=message):
        fetch(source, tmp_path / "raw", FetchParams())


def test_an_unsorted_tar_is_not_spooled_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tarred(tmp_path / "faces.tar.gz", {"sad/2.jpg": b"2" * 9000, "happy/1.jpg": b"1" * 9000})
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 18_100)  # the members fit, the tar around them does not
    monkeypatch.setattr(archives, "MAX_RATIO", 1)
    with pytest.raises(SourceError, match="unpacks to more than"):
        fetch(source, tmp_path / "raw", FetchParams())


def test_an_output_that_cannot_be_written_is_a_fault_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text(FER2013)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        fetch(tmp_path / "fer2013.csv", tmp_path / "file" / "raw", FetchParams())


def test_a_full_disk_is_a_fault_of_the_environment(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="/dev/full cannot be written"):
        raw_table.write_rows([raw_table.RawRow("a", pixels=PIXELS)] * 5000, Path("/dev/full"))


def test_the_longest_line_stays_below_the_csv_modules_field_limit() -> None:
    assert csv.field_size_limit() > csv_source.MAX_LINE
