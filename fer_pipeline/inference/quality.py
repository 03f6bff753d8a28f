"""How fit a face crop is for recognition, and in words why it is not.

The bounds are the 1st and 99th percentile of FER-2013 (5,383 training and validation faces): beyond them the network has seen
next to nothing like it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fer_pipeline.imaging import UInt8Array, resize_face, to_gray
from fer_pipeline.inference.detection.faces import Box, FaceBox

MIN_SIZE = 32
"""Side of the crop in pixels; a smaller one must be grown by half or more to fill the 48 pixels of a model input."""

MIN_SHARPNESS = 430.0
DARKEST, BRIGHTEST = 52.0, 200.0

MAX_OUTSIDE = 0.2
"""Share of the crop that may lie outside the picture."""


NOSE = 0.45
"""How far the tip of a nose stands out before the eyes, in units of their distance."""


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


@dataclass(frozen=True)
class FacePose:
    """In degrees: `roll`, by which the line of the eyes falls to the right (-180 to 180), and `yaw`, by which the face looks to
    the right of the picture (-90 to 90).

    Yaw is a rough estimate from the place of the nose between the eyes, which supposes a nose of `NOSE` on everyone; it was not
    measured on faces of known pose.
    """

    roll: float
    yaw: float

    @classmethod
    def of(cls, face: FaceBox) -> FacePose | None:
        """The pose of a face; None where its detector knows no landmarks, or sees both eyes in one place."""
        if face.landmarks is None or face.tilt is None:
            return None
        right, left, nose = (np.array(mark) for mark in face.landmarks[:3])
        between = left - right
        distance = float(np.hypot(*between))
        if not distance:
            return None
        aside = float((nose - (left + right) / 2) @ between) / distance**2
        return cls(face.tilt, math.degrees(math.atan(aside / NOSE)))

    def turned(self, quarters: int) -> FacePose:
        """The same face before its picture was turned by `quarters` times 90 degrees against the clock."""
        return FacePose((self.roll + 90 * quarters + 180) % 360 - 180, self.yaw)


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
