from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.inference.detection.faces import FaceBox, crop_box, largest_first, scale_box


def test_the_crop_box_grows_about_the_middle_of_the_framing() -> None:
    face = FaceBox((0, 0, 1, 1), (10, 20, 30, 40), 1.0)
    assert crop_box(face, 1.0) == (10, 20, 30, 40)
    assert crop_box(face, 1.5) == (5, 15, 35, 45)


def test_a_scaled_face_is_that_of_a_larger_picture() -> None:
    face = FaceBox((1, 2, 3, 4), (0, 1, 2, 3), 0.5, ((1, 1), (2, 2)))
    assert face.scaled(2) == FaceBox((2, 4, 6, 8), (0, 2, 4, 6), 0.5, ((2, 2), (4, 4)))
    assert FaceBox((1, 2, 3, 4), (0, 1, 2, 3), 0.5).scaled(2).landmarks is None


@pytest.mark.parametrize(("left_eye", "tilt"), [((20, 10), 0), ((20, 20), 45), ((20, 0), -45), ((0, 10), 180)])
def test_the_tilt_is_that_of_the_line_of_the_eyes(left_eye: tuple[float, float], tilt: float) -> None:
    assert FaceBox((0, 0, 1, 1), (0, 0, 1, 1), 0.5, ((10, 10), left_eye)).tilt == pytest.approx(tilt)
    assert FaceBox((0, 0, 1, 1), (0, 0, 1, 1), 0.5).tilt is None


def test_faces_are_sorted_by_the_width_of_their_framing() -> None:
    small = FaceBox((0, 0, 90, 90), (0, 0, 10, 10), 0.9)
    middle = FaceBox((0, 0, 1, 1), (30, 0, 50, 20), 0.5)
    large = FaceBox((0, 0, 1, 1), (100, 100, 130, 130), 0.1)
    assert largest_first([middle, small, large]) == [large, middle, small]


def test_a_scaled_box_has_python_floats() -> None:
    scaled = scale_box((np.float32(1), np.float32(2), np.float32(3), np.float32(4)), 2.0)
    assert scaled == (2.0, 4.0, 6.0, 8.0)
    assert {type(value) for value in scaled} == {float}
