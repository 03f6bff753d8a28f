"""Face boxes, the detector protocol and the framing of a face.

Detectors return boxes in pixels of the image they were given, never crops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fer_pipeline.imaging import UInt8Array

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; may reach beyond the image."""

DETECTION_SIDE = 640
"""Longer side, in pixels, of the copy that is searched for faces.

Faces smaller than about 4 % of it are not found.
"""


@dataclass(frozen=True)
class FaceBox:
    """A detected face.

    `box_xyxy` is the detector's own box, `framing_xyxy` the square around the same face in the framing of FER-2013. `score` in
    0..1 grows with the detector's confidence and compares only with scores of the same detector. `landmarks` are (x, y) of right
    eye, left eye, nose tip, right and left corner of the mouth (the person's right); None where the detector gives none.
    """

    box_xyxy: Box
    framing_xyxy: Box
    score: float
    landmarks: tuple[tuple[float, float], ...] | None = None

    @property
    def tilt(self) -> float | None:
        """Return the angle of the eye line in degrees, -180 to 180.

        Positive where it falls to the right. None without landmarks.
        """
        if self.landmarks is None:
            return None
        (right_x, right_y), (left_x, left_y) = self.landmarks[:2]
        return math.degrees(math.atan2(left_y - right_y, left_x - right_x))

    def scaled(self, scale: float) -> FaceBox:
        """Return the same face in an image that is `scale` times as large."""
        landmarks = self.landmarks
        if landmarks is not None:
            landmarks = tuple((x * scale, y * scale) for x, y in landmarks)
        return FaceBox(scale_box(self.box_xyxy, scale), scale_box(self.framing_xyxy, scale), self.score, landmarks)


class FaceDetector(Protocol):
    """Detects faces; safe to call from several threads."""

    @property
    def name(self) -> str:
        """Short name for reports: "centerface", "haar", "yunet"."""

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        """Detect the faces of an RGB (H, W, 3) or gray (H, W) image, largest first."""


def crop_box(face: FaceBox, crop_scale: float) -> Box:
    """Return the square to crop: the framing, scaled about its centre by `crop_scale`.

    `crop_scale` is that of the model's `ImageSpec`.
    """
    x1, y1, x2, y2 = face.framing_xyxy
    half = (x2 - x1) * crop_scale / 2
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    return (middle_x - half, middle_y - half, middle_x + half, middle_y + half)


def scale_box(box: Box, scale: float) -> Box:
    """Scale a box from one image size to another; returns Python floats."""
    x1, y1, x2, y2 = box
    return (float(x1 * scale), float(y1 * scale), float(x2 * scale), float(y2 * scale))


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, in 0..1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def largest_first(faces: Iterable[FaceBox]) -> list[FaceBox]:
    """Sort faces by the width of their framing, largest first."""
    return sorted(faces, key=lambda face: face.framing_xyxy[0] - face.framing_xyxy[2])
