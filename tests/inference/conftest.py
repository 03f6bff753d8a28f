"""Generated videos, and a detector whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.inference.detection.faces import FaceBox

UInt8Array = npt.NDArray[np.uint8]
VideoWriter = Callable[..., Path]


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


@pytest.fixture(scope="session")
def write_video() -> VideoWriter:
    """Writes RGB frames to a file; `times` in seconds make the frame rate variable, `rotation` is a flag in degrees."""

    def write(
        path: Path,
        frames: Iterable[UInt8Array],
        *,
        fps: int = 25,
        times: Sequence[float] | None = None,
        rotation: int = 0,
        codec: str = "mpeg4",
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(codec, rate=fps)
            stream.bit_rate = 4_000_000
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.gop_size = 5
            if rotation:
                stream.set_display_rotation(rotation)
            for number, image in enumerate(frames):
                if number == 0:
                    stream.height, stream.width = image.shape[:2]
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = round(1000 * (times[number] if times else number / fps))
                frame.time_base = Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
