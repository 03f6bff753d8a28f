from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.yunet import YuNetDetector, published_yunet


class OneFace:
    """Replaces OpenCV's YuNet: one face at (100, 50), 82 wide and 100 high, in every image."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def setInputSize(self, size: tuple[int, int]) -> None:
        self.sizes.append(size)

    def detect(self, image: UInt8Array) -> tuple[int, Any]:
        return 1, np.array([[100, 50, 82.2, 100, *range(10), 0.9]], np.float32)


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
def test_small_images_are_padded_for_yunet(
    shape: tuple[int, ...], seen: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of smaller inputs OpenCV reads boxes from uninitialized memory."""
    (tmp_path / "yunet.onnx").touch()
    network = OneFace()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: network)
    images: list[UInt8Array] = []
    monkeypatch.setattr(network, "detect", lambda image: (images.append(image), (1, None))[1])
    assert YuNetDetector(tmp_path / "yunet.onnx").detect(np.full(shape, 200, np.uint8)) == []
    assert network.sizes[-1] == images[-1].shape[1::-1] == seen
    assert images[-1][0, 0].tolist() == [200] * 3


def test_a_missing_yunet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no face detector in .*yunet\.onnx"):
        YuNetDetector(tmp_path / "yunet.onnx")


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_a_file_that_is_no_network_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "yunet.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="is not a YuNet network"):
        YuNetDetector(tmp_path / "yunet.onnx")


def test_another_network_is_no_yunet(brightness_model: Path) -> None:
    with pytest.raises(ModelError, match="is not a YuNet network"):
        YuNetDetector(brightness_model / "model.onnx")


def test_a_changed_yunet_is_not_taken_for_the_published_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"changed")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: OneFace())
    with pytest.raises(ModelError, match=r"SHA-256 .* fetch it again"):
        published_yunet(tmp_path / "yunet.onnx")


def test_the_published_yunet_is_known_by_its_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"published")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: OneFace())
    monkeypatch.setattr("fer_pipeline.inference.detection.yunet.YUNET_SHA256", hashlib.sha256(b"published").hexdigest())
    assert published_yunet(tmp_path / "yunet.onnx").name == "yunet"


def test_yunet_loads_its_file_and_is_tried_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").touch()
    network, calls, tried = OneFace(), [], []
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *settings: (calls.append(settings), network)[1])
    monkeypatch.setattr(network, "detect", lambda image: tried.append((image.shape, image.dtype)))
    YuNetDetector(tmp_path / "yunet.onnx")
    YuNetDetector(tmp_path / "yunet.onnx", min_score=0.9)
    assert calls == [(str(tmp_path / "yunet.onnx"), "", (320, 320), score) for score in (0.6, 0.9)]
    assert tried == [((320, 320, 3), np.uint8)] * 2


def test_a_small_image_stays_at_the_top_left_of_black(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").touch()
    network = OneFace()
    images: list[UInt8Array] = []
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: network)
    monkeypatch.setattr(network, "detect", lambda image: (images.append(image), (1, None))[1])
    image = np.random.default_rng(0).integers(1, 255, (30, 100, 3), np.uint8)
    YuNetDetector(tmp_path / "yunet.onnx").detect(image)
    np.testing.assert_array_equal(images[-1], np.pad(image[:, :, ::-1], ((0, 34), (0, 0), (0, 0))))
