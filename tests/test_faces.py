from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.inference.detection.detectors import FaceBox, HaarDetector, YuNetDetector, crop_box, published_yunet

UInt8Array = npt.NDArray[np.uint8]


class OneFace:
    """Stands in for OpenCV's YuNet: one face at (100, 50), 82 wide and 100 high, wherever it looks."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def setInputSize(self, size: tuple[int, int]) -> None:
        self.sizes.append(size)

    def detect(self, image: UInt8Array) -> tuple[int, Any]:
        return 1, np.array([[100, 50, 82.2, 100, *range(10), 0.9]], np.float32)


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


def test_the_framing_of_yunet_is_the_square_around_its_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").touch()
    network = OneFace()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: network)
    (face,) = YuNetDetector(tmp_path / "yunet.onnx", longest_side=320).detect(np.zeros((480, 640, 3), np.uint8))
    assert network.sizes[-1] == (320, 240)
    np.testing.assert_allclose(face.box_xyxy, (200, 100, 364.4, 300), rtol=1e-6)  # twice what it saw in the half-size copy
    x1, y1, x2, y2 = face.framing_xyxy
    assert x2 - x1 == pytest.approx(y2 - y1) == pytest.approx(200)
    assert (x1, y1) == pytest.approx((200 - 0.088 * 200, 100 + 0.017 * 200))
    assert face.landmarks is not None
    assert face.landmarks[:2] == ((0, 2), (4, 6))
    assert face.score == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("shape", "seen"), [((1, 1, 3), (64, 64)), ((20, 130), (130, 64)), ((5000, 1, 3), (64, 640)), ((64, 64, 3), (64, 64))]
)
def test_yunet_is_given_no_picture_so_small_that_opencv_reads_what_it_never_wrote(
    shape: tuple[int, ...], seen: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "yunet.onnx").touch()
    network = OneFace()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: network)
    pictures: list[UInt8Array] = []
    monkeypatch.setattr(network, "detect", lambda image: (pictures.append(image), (1, None))[1])
    assert YuNetDetector(tmp_path / "yunet.onnx").detect(np.full(shape, 200, np.uint8)) == []
    assert network.sizes[-1] == pictures[-1].shape[1::-1] == seen
    assert pictures[-1][0, 0].tolist() == [200] * 3


def test_a_missing_yunet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no face detector in .*yunet\.onnx"):
        YuNetDetector(tmp_path / "yunet.onnx")


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_a_file_that_is_no_network_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "yunet.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="no YuNet network"):
        YuNetDetector(tmp_path / "yunet.onnx")


def test_another_network_is_no_yunet(brightness_model: Path) -> None:
    with pytest.raises(ModelError, match="no YuNet network"):
        YuNetDetector(brightness_model / "model.onnx")


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


def test_a_changed_yunet_is_not_taken_for_the_published_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"changed")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: OneFace())
    with pytest.raises(ModelError, match=r"SHA-256 .* fetch it anew"):
        published_yunet(tmp_path / "yunet.onnx")


def test_the_published_yunet_is_known_by_its_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"published")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: OneFace())
    monkeypatch.setattr("fer_pipeline.inference.detection.detectors.YUNET_SHA256", hashlib.sha256(b"published").hexdigest())
    assert published_yunet(tmp_path / "yunet.onnx").name == "yunet"
