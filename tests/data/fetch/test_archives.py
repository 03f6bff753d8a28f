"""Folders and archives as trees of files: names, limits, damage."""

from __future__ import annotations

import gzip
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from fer_pipeline.data.fetch import archives
from fer_pipeline.data.fetch.archives import MAX_UNPACKED_BYTES, open_tree, unpacked_limit
from fer_pipeline.errors import SourceError
from tests.data.fetch.packing import tarred, tree, zipped

MEMBERS = {"sad/2.jpg": b"two", "happy/1.jpg": b"one!", ".hidden/3.jpg": b"3", "happy/Thumbs.db": b"4", "__MACOSX/x": b"5"}


@pytest.mark.parametrize("form", ["folder", "faces.zip", "faces.tar", "faces.tar.gz"])
def test_each_form_gives_the_same_files(form: str, tmp_path: Path) -> None:
    """Names are sorted and without hidden ones, sizes are those unpacked, contents are read by name in any order."""
    path = tmp_path / form
    if form == "folder":
        for name, data in MEMBERS.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        (zipped if form.endswith("zip") else tarred)(path, MEMBERS)
    with open_tree(path) as found:
        assert found.origin == path
        assert list(found.sizes.items()) == [("happy/1.jpg", 4), ("sad/2.jpg", 3)]
        assert [found.open(name).read() for name in ("sad/2.jpg", "happy/1.jpg", "sad/2.jpg")] == [b"two", b"one!", b"two"]
        assert found.place("sad/2.jpg") == f"{path}/sad/2.jpg"


@pytest.mark.parametrize("content", [b"emotion,pixels", b"", b"P", gzip.compress(b"emotion,pixels"), b"\x1f\x8bdamaged"])
def test_a_single_file_is_a_tree_of_one(content: bytes, tmp_path: Path) -> None:
    """Also a file of gzip that holds no tar, or is damaged: reading it says so later."""
    (tmp_path / "fer.csv").write_bytes(content)
    with open_tree(tmp_path / "fer.csv") as found:
        assert dict(found.sizes) == {"fer.csv": len(content)}
        assert found.open("fer.csv").read() == content
        assert found.place("fer.csv") == str(tmp_path / "fer.csv")


@pytest.mark.parametrize(
    ("packed", "limit"),
    [
        (0, 64 * 2**20),
        (671_088, 64 * 2**20),
        (671_089, 67_108_900),
        (2**24, 100 * 2**24),
        (171_798_691, 17_179_869_100),
        (171_798_692, 16 * 2**30),
        (2**40, MAX_UNPACKED_BYTES),
    ],
)
def test_an_archive_may_unpack_to_100_times_its_size(packed: int, limit: int) -> None:
    """But always to 64 MiB, and never to more than 16 GiB."""
    assert unpacked_limit(packed) == limit


@pytest.mark.parametrize("form", ["faces.zip", "faces.tar", "sorted.tar.gz", "faces.tar.gz"])
def test_the_limits_may_be_reached_and_not_passed(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"happy/1.jpg": b"1" * 700, "sad/2.jpg": b"2" * 300}
    if form == "faces.tar.gz":  # in this order its pictures are unpacked to a temporary file, with the tar's own headers
        members = dict(reversed(members.items()))
    path = (zipped if form.endswith("zip") else tarred)(tmp_path / form, members)
    whole = len(gzip.decompress(path.read_bytes())) if form == "faces.tar.gz" else 1000
    monkeypatch.setattr(archives, "MAX_RATIO", 0)
    for limit, value in (("RATIO_FREE_BYTES", whole), ("MAX_MEMBERS", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(archives, limit, value)
            with open_tree(path) as found:
                assert found.open("sad/2.jpg").read() == b"2" * 300
            patch.setattr(archives, limit, value - 1)
            words = "unpacks to more than" if limit == "RATIO_FREE_BYTES" else r"holds more than 1 files: pack the faces alone"
            with pytest.raises(SourceError, match=words), open_tree(path):
                pass


def test_too_large_an_archive_says_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "faces.zip", {"a.csv": b"0" * 9999})
    size = path.stat().st_size
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 1000)
    monkeypatch.setattr(archives, "MAX_RATIO", 2)
    words = rf"faces.zip \({size:,} bytes\) unpacks to more than 1,000 bytes \(limits: 17,179,869,184 bytes, 2 times its size\)"
    with pytest.raises(SourceError, match=words + ": if you trust it, unpack it yourself"), open_tree(path):
        pass


def test_a_folder_may_hold_the_most_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree(tmp_path / "faces", "happy/1.jpg", "sad/2.jpg")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    with open_tree(folder) as found:
        assert len(found.sizes) == 2
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(SourceError, match="more than 1 files: give the folder of the faces alone"), open_tree(folder):
        pass


def test_links_to_folders_are_followed_and_never_in_a_circle(tmp_path: Path) -> None:
    """DVC may put links in place of files and folders."""
    store = tree(tmp_path / "store", "happy/1.jpg")
    folder = tree(tmp_path / "faces", "sad/2.jpg")
    (folder / "linked").symlink_to(store)
    with open_tree(folder) as found:
        assert list(found.sizes) == ["linked/happy/1.jpg", "sad/2.jpg"]
    (folder / "sad" / "up").symlink_to(folder)
    words = r"sad/up leads back to a folder that was read before \(.*faces\): remove the link"
    with pytest.raises(SourceError, match=words), open_tree(folder):
        pass


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\\..\\x", "C:\\x", "c:x", "\\x"])
def test_names_that_lead_out_of_an_archive_are_refused(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "faces.zip", {"ok.csv": b"1", name: b"2"})
    with pytest.raises(SourceError, match=r"leads out of the archive: do not trust it; pack it anew"), open_tree(path):
        pass


@pytest.mark.parametrize("name", ["a..b/x", "ab:c/x", "1:x", "...x/..y"])
def test_odd_names_that_stay_inside_are_kept(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "faces.zip", {name: b"2"})
    with open_tree(path) as found:
        assert len(found.sizes) == (0 if name.startswith(".") else 1)


def test_names_of_windows_become_names_of_posix(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as packed:
        info = zipfile.ZipInfo("x")
        info.filename = "happy\\1.jpg"
        packed.writestr(info, b"1")
    with open_tree(tmp_path / "faces.zip") as found:
        assert [(name, found.open(name).read()) for name in found.sizes] == [("happy/1.jpg", b"1")]


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_folders_in_an_archive_are_no_files(form: str, tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "happy/1.jpg")
    path = Path(shutil.make_archive(str(tmp_path / "faces"), form, source))
    with open_tree(path) as found:
        assert dict(found.sizes) == {"happy/1.jpg": 11}


def test_what_is_missing_or_closed_is_named(tmp_path: Path) -> None:
    words = r"gone does not exist: check the path, and that DVC has brought it \(`dvc pull`\)"
    with pytest.raises(SourceError, match=words), open_tree(tmp_path / "gone"):
        pass
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "1.jpg").symlink_to(tmp_path / "lost.jpg")
    with pytest.raises(SourceError, match=r"faces/1\.jpg does not exist"), open_tree(tmp_path / "faces"):
        pass


def test_a_closed_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    words = r"faces cannot be read \(Permission denied\): change its mode or owner"
    with pytest.raises(SourceError, match=words), open_tree(tmp_path / "faces"):
        pass


def test_encrypted_members_and_links_are_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "faces.zip", {"a.csv": b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    words = r"faces.zip is encrypted \(a.csv\): unpack it yourself and give the folder"
    with pytest.raises(SourceError, match=words), open_tree(path):
        pass
    link = zipfile.ZipInfo("happy/1.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(link, "/etc/passwd")
    words = r"faces.zip holds a link \(happy/1.jpg\): pack the files themselves"
    with pytest.raises(SourceError, match=words), open_tree(path):
        pass


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(SourceError, match=r"cannot be read \(Permission denied\)"), open_tree(tmp_path):
        pass


@pytest.mark.attack
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["faces.csv", "train/happy/1.png"])
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path, name: str) -> None:
    pipe = tmp_path / name
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    for source in (pipe, tmp_path):
        with pytest.raises(SourceError, match="pipe, socket or device"), open_tree(source):
            pass
