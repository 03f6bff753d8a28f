"""Draw outlines and soft shades in face coordinates.

In face coordinates the eyes lie on y = 0 at x = -0.43 and 0.43, the mouth near y = 1; x grows to the right, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from fer_pipeline.imaging import FACE_SIZE, UInt8Array, resize_face

Points = npt.NDArray[np.float64]
"""Points (N, 2), x and y in face coordinates."""

OVERSAMPLING: Final = 3
SIDE: Final = FACE_SIZE * OVERSAMPLING
EYE_HEIGHT: Final = 0.39
"""Where the eyes lie in the picture, in units of its side, as in FER-2013; they are 0.39 apart."""

_MIDDLE: Final = 0.4  # y of the point about which a head turns
_GRID: Final = (np.arange(FACE_SIZE) + 0.5) / FACE_SIZE
_STEPS: Final = np.linspace(0, 1, 14)
_BERNSTEIN: Final = {  # Bezier curves: weights (14, N) of N control points
    n + 1: np.stack([math.comb(n, k) * _STEPS**k * (1 - _STEPS) ** (n - k) for k in range(n + 1)], axis=1) for n in (1, 2, 3)
}
_ANGLES: Final = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE: Final = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


@dataclass(frozen=True)
class Pose:
    """Pose of a head.

    Angles in radians, shift in units of the image's side; scale 1.0 gives the framing of FER-2013.
    """

    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    scale: float = 1.0
    shift_xy: tuple[float, float] = (0.0, 0.0)

    def project(self, points: Points) -> Points:
        """Project points to units of the image's side.

        They are turned in depth, then in the plane, then scaled and shifted.
        """
        x, y = points[:, 0], points[:, 1] - _MIDDLE
        depth = np.sqrt(np.maximum(1.15 - 0.75 * x * x - 0.2 * y * y, 0)) - 0.75
        placed: Points = np.stack((x, y, depth), axis=1) @ self._turn
        placed += (0.5 + self.shift_xy[0], EYE_HEIGHT + self.unit * _MIDDLE + self.shift_xy[1])
        return placed

    @cached_property
    def _turn(self) -> Points:
        """Matrix (3, 2) from x, y and depth to a point across and down."""
        depth_turn = np.array([[math.cos(self.yaw), 0], [0, math.cos(self.pitch)], [math.sin(self.yaw), math.sin(self.pitch)]])
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        return np.asarray(self.unit * depth_turn @ np.array([[cos, sin], [-sin, cos]]), dtype=np.float64)

    @property
    def unit(self) -> float:
        """Length 1 of face coordinates in units of the picture's side."""
        return self.scale * 0.39 / 0.86


class Canvas:
    """Gray outlines, tones in 0..255, and a map of soft shades that multiplies them."""

    def __init__(self, pose: Pose, background: UInt8Array) -> None:
        self.pose = pose
        self._image = background
        self._shade = np.zeros((FACE_SIZE, FACE_SIZE))

    def fill(self, points: Points, tone: float) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self._image, [self._fixed(points)], _tone(tone), cv2.LINE_AA, shift=4)

    def line(self, points: Points, tone: float, width: float) -> None:
        """Draw an open line; `width` in pixels of the final image."""
        thickness = max(1, round(width * OVERSAMPLING))
        cv2.polylines(self._image, [self._fixed(points)], False, _tone(tone), thickness, cv2.LINE_AA, shift=4)

    def fill_inside(self, points: Points, window: Points, tone: float) -> None:
        """Fill the part of a polygon within another one: the iris between the lids."""
        part, window_part = self._fixed(points), self._fixed(window)
        left, top, width, height = cv2.boundingRect(window_part >> 4)
        left, top = max(left - 1, 0), max(top - 1, 0)
        below = self._image[top : top + height + 3, left : left + width + 3]
        if not below.size:
            return
        masks = np.zeros((2, *below.shape), np.uint8)
        for mask, outline in zip(masks, (part, window_part), strict=True):
            cv2.fillPoly(mask, [outline - np.array([left, top], np.int32) * 16], (255.0,), cv2.LINE_AA, shift=4)
        share = masks.min(axis=0) / 255.0
        below[:] = np.rint(below * (1 - share) + tone * share)

    def shade(self, x: float, y: float, size_x: float, size_y: float, strength: float) -> None:
        """Brighten (strength above 0) or darken a soft spot around a point.

        `strength` is the share by which the middle of the spot changes.
        """
        (middle,) = self.pose.project(np.array([[x, y]]))
        size = self.pose.unit
        across = np.exp(-(((_GRID - middle[0]) / (size_x * size)) ** 2))
        down = np.exp(-(((_GRID - middle[1]) / (size_y * size)) ** 2))
        self._shade += strength * np.outer(down, across)

    def light(self, slope_x: float, slope_y: float) -> None:
        """Add light from one side.

        Brightness changes by `slope_x` from left to right, by `slope_y` from top to bottom, as shares.
        """
        self._shade += slope_x * (_GRID - 0.5)[None, :] + slope_y * (_GRID - 0.5)[:, None]

    def image(self) -> npt.NDArray[np.float64]:
        """Return the image (48, 48), shades applied; gray levels, not clipped to 0..255."""
        return np.asarray(resize_face(self._image) * np.clip(1 + self._shade, 0.1, 2.0), dtype=np.float64)

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        return np.asarray(np.rint(self.pose.project(points) * SIDE * 16), dtype=np.int32)  # 4 bits behind the point, see shift=4


def curve(*points: tuple[float, float]) -> Points:
    """Return a Bezier curve of 2 to 4 control points as 14 points."""
    line: Points = _BERNSTEIN[len(points)] @ np.array(points)
    return line


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Points:
    """Return the outline of an ellipse as 24 points."""
    return _CIRCLE * (radius_x, radius_y) + (x, y)


def joined(*lines: Points) -> Points:
    """Join several lines to one outline."""
    return np.concatenate(lines)


def mirrored(points: Points, side: int) -> Points:
    """Return points of the right side (side 1), or mirrored to the left (side -1)."""
    turned: Points = points * np.array([float(side), 1.0])
    return turned


def _tone(tone: float) -> Sequence[float]:
    return (min(max(tone, 0.0), 255.0),)
