"""How fit a face crop is for recognition, and in words why it is not.

The bounds are the 1st and 99th percentile of FER-2013 (5,383 training and validation faces): beyond them the network has seen
next to nothing like it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fer_pipeline.faces import Box
from fer_pipeline.imaging import UInt8Array, resize_face, to_gray

MIN_SIZE = 32
"""Side of the crop in pixels; a smaller one must be grown by half or more to fill the 48 pixels of a model input."""

MIN_SHARPNESS = 430.0
DARKEST, BRIGHTEST = 52.0, 200.0

MAX_OUTSIDE = 0.2
"""Share of the crop that may lie outside the picture."""


@dataclass(frozen=True)
class FaceQuality:
    """Side of the crop in pixels, variance of its Laplacian at 48x48 (sharpness), mean gray value in 0..255 (brightness).

    `outside` is the share of the crop that lies outside the picture, `contrast` the standard deviation of its gray values.
    """

    size: float
    sharpness: float
    brightness: float
    outside: float
    contrast: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """Which bounds are broken: "small", "blurry", "dark", "bright", "cut_off"; empty for a good crop."""
        broken = {
            "small": self.size < MIN_SIZE,
            "blurry": self.sharpness < MIN_SHARPNESS,
            "dark": self.brightness < DARKEST,
            "bright": self.brightness > BRIGHTEST,
            "cut_off": self.outside > MAX_OUTSIDE,
        }
        return tuple(name for name, is_broken in broken.items() if is_broken)


def measure(face: UInt8Array, outside: float = 0.0) -> FaceQuality:
    """Quality of a face crop, RGB or gray; `outside` as `share_outside` returns it."""
    gray = resize_face(to_gray(face))
    return FaceQuality(
        size=float(min(face.shape[:2])),
        sharpness=float(cv2.Laplacian(gray, cv2.CV_64F).var()),
        brightness=float(np.mean(gray)),
        outside=outside,
        contrast=float(np.std(gray)),
    )


def share_outside(box_xyxy: Box, image: UInt8Array) -> float:
    """Share of the box's area, in 0..1, that lies outside the picture."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    seen_width, seen_height = min(x2, width) - max(x1, 0.0), min(y2, height) - max(y1, 0.0)
    return float(1.0 - max(0.0, seen_width) * max(0.0, seen_height) / ((x2 - x1) * (y2 - y1)))
