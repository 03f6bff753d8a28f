"""Parsing of single rows, without Spark."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fer_pipeline import imaging
from fer_pipeline.data.preprocess.parsing import RowFault, parse_pixels, split_of
from fer_pipeline.data.preprocess.preprocess import PreprocessMetadata
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
    [("Training", "train"), ("publictest", "validation"), (" PrivateTest ", "test"), ("VALIDATION", "validation")],
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
