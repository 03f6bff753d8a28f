"""Fetch of what cannot be read as a whole: it says why, and leaves what was there."""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_pipeline.config.params import FetchParams
from fer_pipeline.data import raw_table
from fer_pipeline.data.fetch import archives
from fer_pipeline.data.fetch.fetch import fetch
from fer_pipeline.errors import SourceError, ToolUnavailableError
from tests.data.fetch.packing import FER2013, PIXELS, VOTES, packed_as, tarred, tree, zipped


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


def packed_with(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
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
    "header only": (text("fer2013.csv", "emotion,pixels,Usage\n"), r"fer2013\.csv has a header and no rows"),
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
    "7z": (
        lambda f: packed_with(f / "faces.7z", b"7z\xbc\xaf\x27\x1c"),
        "faces.7z is packed as 7z, which is not read: unpack it",
    ),
    "rar": (lambda f: packed_with(f / "faces.rar", b"Rar!\x1a\x07\x01"), "faces.rar is packed as rar"),
    "bzip2": (lambda f: packed_with(f / "fer2013.csv.bz2", bz2.compress(FER2013.encode())), "packed as bzip2"),
    "xz": (lambda f: packed_with(f / "fer2013.csv.xz", lzma.compress(FER2013.encode())), "packed as xz"),
    "zstd": (lambda f: packed_with(f / "faces.tar.zst", b"\x28\xb5\x2f\xfd"), "packed as zstd"),
    "two tables in a zip": (
        lambda f: zipped(f / "x.zip", {"a.csv": FER2013.encode(), "b.csv": FER2013.encode()}),
        r"x.zip holds 2 sources \(a.csv, b.csv\): unpack it and give one of them",
    ),
    "7z in a folder": (names("a/faces.7z", "README.md"), "a/faces.7z is packed as 7z, which is not read: unpack it"),
    "rar in a zip": (lambda f: zipped(f / "x.zip", {"faces.RAR": b"Rar!"}), "faces.RAR is packed as rar"),
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
    "class of another set": (names("zzz/1.jpg", "sad/1.jpg"), "folder 'zzz' .* move it away, or rename it"),
    "contempt": (names("contempt/1.jpg", "sad/1.jpg"), "folder 'contempt' is contempt.* --contempt WORD`, or set fetch.contempt"),
    "numbered classes": (
        names("0/1.jpg", "6/1.jpg"),
        r"0, 6 are numbers.*--numbering WORD`.* set fetch.numbering .*fer2013 \(angry neutral\).*affectnet \(neutral angry\)",
    ),
    "numbers among names": (names("train/0/1.jpg", "train/sad/1.jpg"), "the class folders 0 are numbers"),
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
        r"holds 2 sources \(a.csv, 1 pictures\): give one",
    ),
    "votes with pictures": (lambda f: files(a=VOTES)(tree(f / "x", "happy/1.jpg")), "pictures and FER\\+ votes"),
    "two archives": (
        lambda f: zipped(tarred(f / "a.tar.gz", {}).with_name("b.zip"), {}).parent,
        r"holds 2 sources \(a.tar.gz, b.zip\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unreadable_source_says_why_and_keeps_the_old_output(fault: str, tmp_path: Path) -> None:
    """A source that cannot be read says why and leaves the old output."""
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


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """An output that cannot be written is a fault of the environment."""
    (tmp_path / "fer2013.csv").write_text(FER2013)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ToolUnavailableError, match="cannot be written"):
        fetch(tmp_path / "fer2013.csv", tmp_path / "file" / "raw", FetchParams())


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailableError, match="/dev/full cannot be written"):
        raw_table.write_rows([raw_table.RawRow("a", pixels=PIXELS)] * 5000, Path("/dev/full"))
