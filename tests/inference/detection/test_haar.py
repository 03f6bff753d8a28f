from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection import haar
from fer_pipeline.inference.detection.haar import HaarDetector


def test_haar_finds_the_drawn_face(drawn_face: UInt8Array) -> None:
    (face,) = HaarDetector().detect(drawn_face)
    np.testing.assert_allclose(face.box_xyxy, (217, 123, 385, 291), atol=12)
    assert face.framing_xyxy == face.box_xyxy
    assert 0.5 <= face.score < 1
    assert face.landmarks is None


def test_haar_gives_boxes_in_pixels_of_the_whole_picture(drawn_face: UInt8Array) -> None:
    large = np.repeat(np.repeat(drawn_face, 3, axis=0), 3, axis=1)
    (face,) = HaarDetector().detect(large)
    np.testing.assert_allclose(face.box_xyxy, 3 * np.array((217, 123, 385, 291)), atol=36)


def test_haar_finds_the_same_in_gray(drawn_face: UInt8Array) -> None:
    detector = HaarDetector()
    assert detector.detect(np.ascontiguousarray(drawn_face[:, :, 0])) == detector.detect(drawn_face)


def test_the_largest_face_comes_first(drawn_face: UInt8Array) -> None:
    small = np.ascontiguousarray(drawn_face[::2, ::2])
    both = np.concatenate([np.full((480, 320, 3), 150, np.uint8), drawn_face], axis=1)
    both[120:360, 0:320] = small
    faces = HaarDetector(longest_side=960).detect(both)
    assert len(faces) == 2
    assert faces[0].box_xyxy[0] > 500


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000, 3), (3000, 2, 3), (31, 33, 3), (200, 300)])
def test_haar_finds_nothing_in_an_empty_picture_of_any_shape(shape: tuple[int, ...]) -> None:
    assert HaarDetector().detect(np.full(shape, 128, np.uint8)) == []


def test_haar_score_grows_with_the_number_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of n overlapping windows it is n / (n + 8); the search grows by 10 %, from 24 pixels, and needs more than 8 windows."""
    calls: list[Any] = []

    class Cascade:
        def detectMultiScale2(self, image: UInt8Array, *settings: Any, **others: Any) -> tuple[Any, Any]:
            calls.append((image.shape, settings, others))
            return [(10, 20, 30, 40), (0, 0, 50, 50)], [8, 24]

    detector = HaarDetector(longest_side=160)
    monkeypatch.setattr(detector, "_cascade", Cascade())
    first, second = detector.detect(np.zeros((240, 320, 3), np.uint8))
    assert calls == [((120, 160), (1.1, 8), {"minSize": (24, 24)})]
    assert (first.box_xyxy, first.score) == ((0, 0, 100, 100), 0.75)
    assert (second.box_xyxy, second.score) == ((20, 40, 80, 120), 0.5)


def test_an_opencv_without_the_cascade_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(haar, "HAAR_FILE", tmp_path / "gone.xml")
    with pytest.raises(ModelError, match=r"^OpenCV has no Haar cascade: install opencv-python-headless"):
        HaarDetector()
