"""Parsing of single rows, without Spark."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from fer_pipeline import imaging
from fer_pipeline.data.preprocess.metadata import PreprocessMetadata
from fer_pipeline.data.preprocess.parsing import RowFault, parse_pixels, parse_row, split_of
from fer_pipeline.errors import FerError
from fer_pipeline.imaging import ImageSpec
from tests.data.made_rows import face, pixels


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("1 " * 2303, "pixel-count", "2,303 pixels, expected 2,304"),
        ("1 " * 2305, "pixel-count", "2,305 pixels"),
        ("", "pixel-count", "0 pixels"),
        ("1 " * 2303 + "256", "pixel-range", "pixel 2303 is 256, expected 0..255"),
        ("-1 " + "1 " * 2303, "pixel-range", "pixel 0 is -1"),
        ("9" * 6000 + " 1" * 2303, "pixel-range", "expected 0..255"),
        ("-" + "9" * 6000 + " 1" * 2303, "pixel-range", "expected 0..255"),
        ("1 " * 2303 + "x", "pixel-syntax", "pixel 2303 is 'x'"),
        ("1 " * 2303 + "1.5", "pixel-syntax", "'1.5'"),
        ("1 " * 2303 + "-", "pixel-syntax", "'-'"),
        ("1 " * 2303 + "٣", "pixel-syntax", "'٣'"),
        ("1\u00a0" * 2304, "pixel-syntax", "unusual characters"),
    ],
)
def test_pixels_that_are_no_face_are_named(text: str, reason: str, detail: str) -> None:
    with pytest.raises(RowFault) as caught:
        parse_pixels(text)
    assert caught.value.reason == reason
    assert detail in str(caught.value)


def test_pixels_are_read_as_they_stand() -> None:
    picture = face(1)
    assert np.array_equal(parse_pixels(f"  {pixels(picture)}\r\n"), picture)


@pytest.mark.parametrize(
    ("usage", "split"),
    [
        ("Training", "train"),
        ("publictest", "validation"),
        (" PrivateTest ", "test"),
        ("VALIDATION", "validation"),
        ("val", "validation"),
        ("testing", "test"),
        ("public_test", "validation"),
        ("Public Test", "validation"),
        ("private-test", "test"),
        ("Train_Set", "train"),
    ],
)
def test_usage_words_are_known_in_any_case(usage: str, split: str) -> None:
    assert split_of(usage, True) == split


def test_rows_that_do_not_add_up_are_an_error() -> None:
    with pytest.raises(FerError, match="do not add up: 3 in"):
        PreprocessMetadata({}, 3, 1, 0, {"label": 1}, {}, {}, "", {}, ImageSpec(), 1.0)


def test_an_augmented_copy_changes_by_known_amounts() -> None:
    """A varied picture is mirrored shifted and brighter by known amounts."""
    picture = np.zeros((48, 48), np.uint8)
    picture[10, 5] = 100
    moved = imaging.augment(picture, mirror=True, degrees=0.0, shift_xy=(-2.0, 3.0), gain=1.5)
    assert moved[13, 40] == 150
    assert int(moved.sum()) == 150
    assert np.array_equal(imaging.augment(picture, mirror=False, degrees=0.0, shift_xy=(0.0, 0.0), gain=1.0), picture)
    assert cv2.countNonZero(imaging.augment(picture, mirror=False, degrees=90.0, shift_xy=(0.0, 0.0), gain=1.0)) == 1


def raw(**values: Any) -> dict[str, Any]:
    """A good raw row, with other values."""
    usual = {"row": 3, "name": "a.csv:5", "emotion": "happy", "usage": "Training", "image": None, "votes": None}
    return {"pixels": pixels(face(1)), **usual, **values}


def test_a_good_row_is_parsed_into_all_its_columns() -> None:
    picture = face(1)
    assert parse_row(raw(votes=[10, *[0] * 9]), True) == {
        **{"row": 3, "name": "a.csv:5", "emotion": "happy", "usage": "Training"},
        **{"split": "train", "label": 3, "votes": [10, *[0] * 9], "image": picture.tobytes(), "flat": False},
        "content_hash": imaging.content_hash(picture),
        "perceptual_hash": imaging.perceptual_hash(picture),
    }


@pytest.mark.parametrize(("changed", "flat"), [(None, True), ((0, 0), False), ((47, 47), False)])
def test_a_picture_of_one_gray_value_is_flat(changed: tuple[int, int] | None, flat: bool) -> None:
    picture = np.full((48, 48), 9, np.uint8)
    if changed:
        picture[changed] = 10
    assert parse_row(raw(pixels=pixels(picture)), True)["flat"] is flat


def test_an_encoded_picture_becomes_a_gray_face() -> None:
    picture = face(2)
    row = parse_row(raw(pixels=None, image=imaging.encode_png(picture)), True)
    assert row["image"] == picture.tobytes()
    colours = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    row = parse_row(raw(pixels=None, image=imaging.encode_png(colours)), True)
    assert row["image"] == imaging.resize_face(imaging.to_gray(colours)).tobytes()


@pytest.mark.parametrize(
    ("values", "reason", "detail"),
    [
        ({"usage": "Trainin"}, "usage", "usage 'Trainin', expected Training, PublicTest, PrivateTest, train, validation, test"),
        ({"usage": None}, "usage", "usage None, expected Training"),
        ({"emotion": None}, "label", "the row has no label, expected 0-6 or an emotion's name"),
        ({"emotion": " "}, "label", "the row has no label, expected 0-6 or an emotion's name"),
        ({"emotion": "7"}, "label", "label '7' is not one of 0-6, angry"),
        ({"votes": [1] * 9}, "votes", "FER+ votes [1, 1, 1, 1, 1, 1, 1, 1, 1], expected 10 counts of 0 or more"),
        ({"votes": [1] * 9 + [-1]}, "votes", "FER+ votes"),
        ({"votes": [1] * 9 + [None]}, "votes", "FER+ votes"),
        ({"votes": [1] * 11}, "votes", "FER+ votes"),
        ({"pixels": None}, "no-image", "the row has neither pixels nor a picture"),
        ({"pixels": None, "image": b"GIF89a"}, "image", "6 bytes that are no JPEG"),
        ({"pixels": "1 2"}, "pixel-count", "2 pixels, expected 2,304"),
        ({"usage": "?", "emotion": "?", "pixels": "?"}, "usage", "usage '?'"),  # the first fault is the reason
    ],
)
def test_a_bad_row_keeps_its_name_and_says_why(values: dict[str, Any], reason: str, detail: str) -> None:
    row = parse_row(raw(**values), True)
    assert (row["row"], row["name"], row["reason"], row["votes"]) == (3, "a.csv:5", reason, None)
    assert row["detail"].startswith(detail)
    assert "image" not in row


@pytest.mark.parametrize(
    ("usage", "has_splits", "split"),
    [(None, False, None), ("", False, None), ("Feedback", True, "train"), ("test", False, "test")],
)
def test_rows_without_splits_have_none(usage: str | None, has_splits: bool, split: str | None) -> None:
    assert split_of(usage, has_splits) == split


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("1 -2 3", "pixel 1 is -2, expected 0..255"),
        ("1 2 -" + "3" * 50, "pixel 2 is -" + "3" * 19 + ", expected 0..255"),
        ("1 " + "x" * 50, "pixel 1 is '" + "x" * 20 + "', expected a whole number"),
        ("1 2\u00a03", "pixels are separated by unusual characters, expected blanks"),
        ("0 " * 5 + "255 256 257 " + "0 " * 2296, "pixel 7 is 257, expected 0..255"),
    ],
)
def test_the_pixel_that_is_wrong_is_named(text: str, detail: str) -> None:
    with pytest.raises(RowFault) as caught:
        parse_pixels(text)
    assert str(caught.value) == detail


def test_the_brightest_pixel_is_255() -> None:
    picture = np.full((48, 48), 255, np.uint8)
    assert np.array_equal(parse_pixels(pixels(picture).replace(" ", "\t")), picture)
