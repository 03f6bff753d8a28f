"""Frames are turned and mirrored as players show them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import analyse
from fer_pipeline.inference.video.decoding import VideoInfo, frames
from fer_pipeline.inference.video.orientation import Orientation
from tests.inference.video.conftest import SMALL, rows

ONE = 1 << 16


def matrix(a: float, b: float, c: float, d: float) -> tuple[int, ...]:
    return (round(a * ONE), round(b * ONE), 0, round(c * ONE), round(d * ONE), 0, 0, 0, 1 << 30)


def clockwise(degrees: float) -> tuple[int, ...]:
    angle = math.radians(degrees)
    return matrix(math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle))


STORED = np.arange(6, dtype=np.uint8).reshape(2, 3)[:, :, np.newaxis].repeat(3, axis=2)


STRAIGHT = [(a, 0, 0, d) for a in (-1, 1) for d in (-1, 1)] + [(0, b, c, 0) for b in (-1, 1) for c in (-1, 1)]


@pytest.mark.parametrize(("a", "b", "c", "d"), STRAIGHT)
def test_a_matrix_puts_each_pixel_where_it_says(a: int, b: int, c: int, d: int) -> None:
    """All quarter turns, mirrored or not."""
    shown = Orientation.from_matrix(matrix(a, b, c, d)).apply(STORED)
    at = {(a * p + c * q, b * p + d * q): STORED[q, p, 0] for q in range(2) for p in range(3)}
    left, top = min(x for x, _ in at), min(y for _, y in at)
    assert {(x + left, y + top): shown[y, x, 0] for y in range(shown.shape[0]) for x in range(shown.shape[1])} == at


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 1, 1), (1, 0, 1, 0)])
def test_a_matrix_that_is_not_invertible_is_ignored(values: tuple[int, int, int, int]) -> None:
    assert Orientation.from_matrix(matrix(*values)) == Orientation()


@pytest.mark.parametrize(
    ("degrees", "quarters", "tilt"),
    [
        (91, 3, 0),
        (89, 3, 0),
        (1, 0, 0),
        (-1, 0, 0),
        (179, 2, 0),
        (181, 2, 0),
        (270.9, 1, 0),
        (30, 0, -30),
        (60, 3, 30),
        (-44, 0, 44),
    ],
)
def test_an_odd_angle_becomes_the_nearest_quarter_turn(degrees: float, quarters: int, tilt: float) -> None:
    """The rest is told from two degrees on."""
    assert Orientation.from_matrix(clockwise(degrees)) == Orientation(quarters, False, tilt)


def test_scaling_by_the_matrix_changes_no_angle() -> None:
    """Some writers state the shape of the pixels there."""
    assert Orientation.from_matrix(matrix(0, 1, -1.333, 0)) == Orientation(3)
    assert Orientation.from_matrix(matrix(-0.5, 0, 0, 1)) == Orientation(0, True)


@pytest.mark.parametrize(
    ("flags", "corner"),  # where the bright top left corner of the stored frames appears: (row, column)
    [
        ({"hflip": True}, (5, -5)),
        ({"vflip": True}, (-5, 5)),
        ({"hflip": True, "vflip": True}, (-5, -5)),
        ({"rotation": 90, "hflip": True}, (-5, -5)),
        ({"rotation": 90, "vflip": True}, (5, 5)),
        ({"rotation": 180, "hflip": True}, (-5, 5)),
        ({"rotation": -91}, (5, -5)),
        ({"rotation": 93}, (-5, 5)),
    ],
)
def test_frames_of_a_file_are_mirrored_and_turned(
    flags: dict[str, Any], corner: tuple[int, int], tmp_path: Path, write_video: Any, spots: Any
) -> None:
    """A display matrix of a file holds for its frames and its header."""
    path = write_video(tmp_path / "film.mp4", [spots((0, 0, 30, 250))] * 3, **flags)
    info = VideoInfo.read(path)
    for _, image in frames(path):
        assert image.shape[:2] == (info.height, info.width)
        assert image[corner].min() > 200
        assert image.mean() < 30


def test_boxes_lie_in_the_picture_as_shown(tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer) -> None:
    path = write_video(tmp_path / "film.mp4", [spots((10, 20, 40, 230))] * 30, hflip=True)
    summary = analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert (summary.info.mirrored, summary.info.rotation, summary.notes) == (True, 0, ())
    for row in rows(tmp_path / "out"):
        assert row["box"]["x"] == pytest.approx(160 - 10 - 40, abs=8)


def test_a_tilt_that_is_not_applied_is_noted(tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer) -> None:
    path = write_video(tmp_path / "film.mp4", [spots((10, 20, 40, 230))] * 3, rotation=30)
    summary = analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert [note for note in summary.notes if "tilted by 30 degrees" in note]
    again = analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert again.skipped
