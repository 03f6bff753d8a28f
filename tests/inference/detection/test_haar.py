from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.imaging import UInt8Array
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
