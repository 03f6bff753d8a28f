from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_pipeline.errors import ImageError, ParamsError
from fer_pipeline.imaging import encode_png
from fer_pipeline.inference.pictures.sources import is_several, pictures_of

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def one(source: Any, **options: Any) -> npt.NDArray[np.uint8]:
    (picture,) = pictures_of(source, **options)
    return picture.read()


def test_each_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(data := encode_png(IMAGE))
    with file.open("rb") as opened:
        sources: list[Any] = [file, str(file), data, bytearray(data), io.BytesIO(data), opened, Image.open(file), IMAGE]
        for source in sources:
            assert not is_several(source)
            np.testing.assert_array_equal(one(source), IMAGE)
    np.testing.assert_array_equal(one(cv2.imread(str(file)), bgr=True), IMAGE)
    assert one(IMAGE[:, :, :1]).shape == one(IMAGE[:, :, 0]).shape == (6, 8)


def test_a_pil_image_is_turned_as_its_file_is(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(IMAGE).save(tmp_path / "a.png", exif=turned)
    np.testing.assert_array_equal(one(Image.open(tmp_path / "a.png")), one(tmp_path / "a.png"))


def test_a_folder_gives_the_pictures_in_it_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.JPG", "sub/c.heic", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert is_several(tmp_path)
    assert [Path(picture.file or "").name for picture in pictures_of(tmp_path)] == ["a.JPG", "b.png", "c.heic"]
    assert [picture.file for picture in pictures_of([str(tmp_path / "b.png"), IMAGE])] == [str(tmp_path / "b.png"), None]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("https://example.org/a.jpg", "https://example.org/a.jpg is an address, and nothing is fetched: download the picture"),
        ("data:image/png;base64,AAAA", "is an address"),
        ("missing.jpg", "missing.jpg: No such file"),
        (b"hello", "no JPEG, PNG"),
        (IMAGE.astype(np.float32) / 255, "dtype float32, expected uint8 in 0..255: multiply"),
        (np.stack([IMAGE, IMAGE]), "several pictures as a list"),
        (np.zeros((4, 4, 4), np.uint8), "with transparency"),
        (np.zeros((4,), np.uint8), r"expected \(H, W, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"expected \(H, W, 3\)"),
        (Image.new("F", (4, 4)), "floating-point"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(source: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        one(source)


@pytest.mark.parametrize("source", [7, None, [7], io.StringIO("text")])
def test_what_no_picture_can_be_read_from_is_refused(source: Any) -> None:
    with pytest.raises(ParamsError, match="expected"):
        one(source)


def test_a_folder_that_cannot_be_listed_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not passed over: it has its place among the pictures, and an error."""
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list(pictures_of(tmp_path))
    assert [picture.file for picture in found] == [str(tmp_path / "a.png"), str(tmp_path / "closed")]
    with pytest.raises(ImageError, match="closed"):
        found[1].read()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no picture"):
        list(pictures_of(tmp_path))
