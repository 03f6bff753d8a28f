"""Generated images, and a detector whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.inference.detection.faces import FaceBox

UInt8Array = npt.NDArray[np.uint8]


class Blobs:
    """Takes each bright spot for a face: the gray of the spot is the answer of the brightness model."""

    name = "blobs"

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        gray = image if image.ndim == 2 else image[:, :, 0]
        self.sizes.append((gray.shape[1], gray.shape[0]))
        _, _, stats, _ = cv2.connectedComponentsWithStats((gray > 60).astype(np.uint8))
        boxes = [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h, area in stats[1:] if area > 30]
        return sorted((FaceBox(box, box, 0.9) for box in boxes), key=lambda face: face.box_xyxy[0] - face.box_xyxy[2])


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture(scope="session")
def spots() -> Callable[..., UInt8Array]:
    """Makes a black RGB picture with gray squares given as (left, top, side, gray)."""

    def draw(*squares: tuple[int, int, int, int], size: tuple[int, int] = (160, 120)) -> UInt8Array:
        image = np.zeros((size[1], size[0], 3), np.uint8)
        for left, top, side, gray in squares:
            image[max(top, 0) : top + side, max(left, 0) : left + side] = gray
        return image

    return draw
