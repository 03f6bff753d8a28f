from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.imaging import UInt8Array, rotate90
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.detection.upright import detect_upright, is_upright

BOX = (100.0, 100.0, 180.0, 200.0)
LANDMARKS = np.array([[123.0, 140.0], [157.0, 140.0], [140.0, 160.0], [126.0, 178.0], [154.0, 178.0]])


def face(degrees: float = 0.0, score: float = 0.9, box: tuple[float, float, float, float] = BOX) -> FaceBox:
    """A frontal face whose landmarks are rotated clockwise about the middle of its box."""
    angle, middle = np.radians(degrees), np.array([140.0, 150.0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    marks = tuple((float(x), float(y)) for x, y in (LANDMARKS - middle) @ turn + middle)
    return FaceBox(box, box, score, marks)


class Answers:
    """A detector with one answer for each image it is given, in their order."""

    def __init__(self, *answers: list[FaceBox], name: str = "centerface") -> None:
        self.name = name
        self.answers = list(answers)
        self.images: list[UInt8Array] = []

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        self.images.append(image)
        return self.answers.pop(0)


@pytest.fixture
def image() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)


@pytest.mark.parametrize(("degrees", "upright"), [(0, True), (40, True), (-40, True), (50, False), (90, False), (180, False)])
def test_the_midline_of_an_upright_face_leans_little(degrees: float, upright: bool) -> None:
    assert is_upright(face(degrees)) is upright


def test_a_box_that_lies_on_its_side_is_not_upright() -> None:
    """CenterFace gives the box of a lying face its shape, and landmarks that may stand."""
    assert not is_upright(face(box=(80.0, 110.0, 200.0, 190.0)))


def test_eyes_near_each_other_are_not_seen_from_the_front() -> None:
    near = face(box=(60.0, 60.0, 220.0, 240.0))
    assert not is_upright(near)


def test_a_face_without_landmarks_counts_as_upright() -> None:
    assert is_upright(FaceBox((0, 0, 20, 10), (0, 0, 20, 20), 0.9))


def test_an_upright_face_ends_the_search(image: UInt8Array) -> None:
    detector = Answers([face(180, 0.9), face(0, 0.4)])
    assert detect_upright(detector, image) == (image, [face(180, 0.9), face(0, 0.4)], 0)


def test_a_face_on_its_side_is_found_by_rotating(image: UInt8Array) -> None:
    detector = Answers([face(90, 0.6)], [face(180, 0.9)], [face(-90, 0.9)], [face(0, 0.8)], [face(0, 0.8), face(90, 0.7)])
    rotated, found, quarters = detect_upright(detector, image)
    assert (found, quarters) == ([face(0, 0.8)], 3)  # without what lies on its side in the rotated image
    np.testing.assert_array_equal(rotated, rotate90(image, 3))


@pytest.mark.parametrize("turned", [face(0, 0.54), face(0, 0.59), face(90, 0.9)], ids=["unsure", "less sure", "lying"])
def test_a_doubtful_rotation_leaves_the_image_as_it_is(image: UInt8Array, turned: FaceBox) -> None:
    detector = Answers([face(70, 0.6)], [turned], [], [])
    assert detect_upright(detector, image) == (image, [face(70, 0.6)], 0)


def test_an_unsure_face_in_a_rotated_image_is_none(image: UInt8Array) -> None:
    for name, least in (("centerface", 0.55), ("yunet", 0.8), ("haar", 0.7)):
        assert detect_upright(Answers([], [face(0, least - 0.01)], [], [], name=name), image) == (image, [], 0)
        assert detect_upright(Answers([], [face(0, least)], [], [], [face(0, least)], name=name), image)[2] == 1
