"""Fetch of pictures in class folders, as a tree or in an archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from fer_pipeline.data import raw_table
from fer_pipeline.data.fetch import image_folders
from fer_pipeline.errors import SourceError
from tests.data.fetch.packing import Fetched, tarred, tree, zipped

IMAGE_TREE = (
    "root/Test/ANGER/1.PNG",
    "root/Test/surprised/2.webp",
    "root/Training/Fear/3.bmp",
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
    metadata, rows = fetched(source)
    assert [row["name"] for row in rows] == sorted(IMAGE_TREE)
    assert [row["image"] for row in rows] == [name.encode() for name in sorted(IMAGE_TREE)]
    assert [row["emotion"] for row in rows] == ["ANGER", "surprised", "Fear", "Happiness", "Happiness", "neutral"]
    assert [row["usage"] for row in rows] == ["test", "test", "train", "train", "train", "validation"]
    assert {row["pixels"] for row in rows} == {None}
    assert metadata.kind == "image-folder"
    assert metadata.rows_per_usage == {"test": 2, "train": 3, "validation": 1}
    assert metadata.notes == ("1 other files (.txt), left out: root/README.txt",)


def test_all_endings_of_jpeg_files_are_read(tmp_path: Path, fetched: Fetched) -> None:
    _, rows = fetched(tree(tmp_path / "faces", "happy/1.jpe", "happy/2.JFIF", "happy/3.jpeg", "happy/4.jpg"))
    assert len(rows) == 4


def test_a_flat_tree_has_no_usage(tmp_path: Path, fetched: Fetched) -> None:
    metadata, rows = fetched(tree(tmp_path / "faces", "happy/1.jpg", "Sadness/1.jpg"))
    assert [(row["emotion"], row["usage"]) for row in rows] == [("Sadness", None), ("happy", None)]
    assert metadata.rows_per_usage == {raw_table.NO_USAGE: 2}


def test_a_changed_picture_changes_the_digest_of_the_tree(tmp_path: Path, fetched: Fetched) -> None:
    source = tree(tmp_path / "faces", "happy/1.jpg", "sad/1.jpg")
    before = fetched(source)[0].files
    assert fetched(source)[0].files == before
    (source / "sad/1.jpg").write_bytes(b"other-1.jpg")
    assert fetched(source)[0].files[0].sha256 != before[0].sha256


def test_a_picture_over_the_limit_keeps_its_row_without_content(
    tmp_path: Path, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folders, "MAX_IMAGE_BYTES", 20)
    source = tree(tmp_path / "faces", "happy/1.jpg", "happy/a-name-of-more-than-twenty-bytes.jpg")
    metadata, rows = fetched(source)
    assert [row["image"] for row in rows] == [b"happy/1.jpg", None]
    assert "more than 20 bytes" in metadata.notes[0]


def test_a_damaged_picture_in_a_zip_keeps_its_empty_row(tmp_path: Path, fetched: Fetched) -> None:
    """A damaged picture in a zip keeps its row without content."""
    source = tmp_path / "faces.zip"
    with zipfile.ZipFile(source, "w") as packed:
        packed.writestr("happy/1.jpg", b"AAAAAAAA")
        packed.writestr("happy/2.jpg", b"BBBBBBBB")
    source.write_bytes(source.read_bytes().replace(b"AAAAAAAA", b"AAAACAAA"))
    metadata, rows = fetched(source)
    assert [row["image"] for row in rows] == [None, b"BBBBBBBB"]
    assert "1 pictures that cannot be read" in metadata.notes[0]


def test_links_in_a_folder_are_followed_but_not_in_circles(tmp_path: Path, fetched: Fetched) -> None:
    cache = tree(tmp_path / "cache", "1.jpg")
    source = tree(tmp_path / "faces", "sad/1.jpg")
    (source / "happy").symlink_to(cache)  # as `dvc` with cache.type symlink
    assert len(fetched(source)[1]) == 2
    (source / "fear").symlink_to(source)
    with pytest.raises(SourceError, match="leads back"):
        fetched(source)


def test_an_emotion_may_follow_a_number(tmp_path: Path, fetched: Fetched) -> None:
    metadata, rows = fetched(tree(tmp_path / "faces", "0_Angry/1.jpg", "3 - happiness/1.jpg", "6.neutral/1.jpg"))
    assert [row["emotion"] for row in rows] == ["Angry", "happiness", "neutral"]
    assert metadata.labels == "names"
