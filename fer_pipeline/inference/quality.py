"""Measure the quality and pose of a face crop, with the reasons for low quality.

The bounds are the 1st and 99th percentile of FER-2013 (5,383 training and validation faces); the network was trained on hardly
any face beyond them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fer_pipeline.imaging import UInt8Array, resize_face, to_gray
from fer_pipeline.inference.detection.faces import Box, FaceBox

MIN_SIZE = 32
"""Side of the crop in pixels.

A smaller one is enlarged by half or more to the 48 pixels of a model input.
"""

MIN_SHARPNESS = 430.0
MIN_BRIGHTNESS, MAX_BRIGHTNESS = 52.0, 200.0

MAX_OUTSIDE = 0.2
"""Share of the crop that may be outside the image."""


NOSE_LENGTH = 0.45
"""Distance of the nose tip from the plane of the eyes, in eye distances."""


@dataclass(frozen=True)
class FaceQuality:
    """Quality of a face crop.

    `size` is its side in pixels, `sharpness` the variance of its Laplacian at 48x48, `brightness` the mean and `contrast` the
    standard deviation of its gray values 0..255, `outside` the share of the crop that is outside the image.
    """

    size: float
    sharpness: float
    brightness: float
    outside: float
    contrast: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the violated bounds: "small", "blurry", "dark", "bright", "cut_off".

        Empty if none.
        """
        broken = {
            "small": self.size < MIN_SIZE,
            "blurry": self.sharpness < MIN_SHARPNESS,
            "dark": self.brightness < MIN_BRIGHTNESS,
            "bright": self.brightness > MAX_BRIGHTNESS,
            "cut_off": self.outside > MAX_OUTSIDE,
        }
        return tuple(name for name, is_broken in broken.items() if is_broken)


@dataclass(frozen=True)
class FacePose:
    """Pose of a face in degrees.

    `roll` is the angle of the eye line, -180 to 180, positive where it falls to the right; `yaw` is the rotation to the right of
    the image, -90 to 90. Yaw is a rough estimate from the position of the nose between the eyes and assumes a nose length of
    `NOSE_LENGTH`; it was not validated on faces of known pose.
    """

    roll: float
    yaw: float

    @classmethod
    def of(cls, face: FaceBox) -> FacePose | None:
        """Estimate the pose of a face; None without landmarks.

        Also None where both eyes are at one point.
        """
        if face.landmarks is None or face.tilt is None:
            return None
        right, left, nose = (np.array(mark) for mark in face.landmarks[:3])
        between = left - right
        distance = float(np.hypot(*between))
        if not distance:
            return None
        aside = float((nose - (left + right) / 2) @ between) / distance**2
        return cls(face.tilt, math.degrees(math.atan(aside / NOSE_LENGTH)))

    def rotated(self, quarters: int) -> FacePose:
        """Return the pose before a counterclockwise rotation by `quarters` * 90 degrees."""
        return FacePose((self.roll + 90 * quarters + 180) % 360 - 180, self.yaw)


def measure(face: UInt8Array, outside: float = 0.0) -> FaceQuality:
    """Measure a face crop, RGB or gray; `outside` as returned by `share_outside`."""
    gray = resize_face(to_gray(face))
    return FaceQuality(
        size=float(min(face.shape[:2])),
        sharpness=float(cv2.Laplacian(gray, cv2.CV_64F).var()),
        brightness=float(np.mean(gray)),
        outside=outside,
        contrast=float(np.std(gray)),
    )


def share_outside(box_xyxy: Box, image: UInt8Array) -> float:
    """Return the share of the box's area, in 0..1, that is outside the image."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    seen_width, seen_height = min(x2, width) - max(x1, 0.0), min(y2, height) - max(y1, 0.0)
    return float(1.0 - max(0.0, seen_width) * max(0.0, seen_height) / ((x2 - x1) * (y2 - y1)))
