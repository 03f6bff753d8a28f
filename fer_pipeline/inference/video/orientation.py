"""Turn and mirror decoded video frames as their display matrix says."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type

from fer_pipeline.imaging import UInt8Array, rotate90

TILT_DEGREES = 2.0
"""Difference to a quarter turn below which a rotation is that quarter turn.

FFmpeg warns of an odd angle from there on.
"""


@dataclass(frozen=True)
class Orientation:
    """How a stored frame is shown: mirrored left to right first, then rotated.

    `quarters` counts turns of 90 degrees counterclockwise, 0 to 3. `tilt` is the rest of the angle in degrees, -45 to 45, which
    is not applied; 0 where it is below `TILT_DEGREES`.
    """

    quarters: int = 0
    mirrored: bool = False
    tilt: float = 0.0

    @classmethod
    def of(cls, frame: Any) -> Orientation:
        """Read the display matrix of a PyAV frame; without one it is shown as stored."""
        for data in frame.side_data:
            if data.type is Type.DISPLAYMATRIX:
                return cls.from_matrix(struct.unpack("=9i", bytes(data)))
        return cls()

    @classmethod
    def from_matrix(cls, matrix: tuple[int, ...]) -> Orientation:
        """Read the nine numbers of a display matrix of FFmpeg, row by row.

        A pixel (p, q) is shown at (a p + c q, b p + d q), with y downwards; a, b are the first two numbers of the first row and
        c, d those of the second. A matrix that is not invertible, such as one of zeros, is ignored, as players do.
        """
        a, b, _, c, d = (float(value) for value in matrix[:5])
        across, down = math.hypot(a, c), math.hypot(b, d)
        if not (across and down) or a * d == b * c:
            return cls()
        a, c, b, d = a / across, c / across, b / down, d / down
        mirrored = a * d < b * c
        if mirrored:  # what remains once the frame is mirrored
            a, b = -a, -b
        counterclockwise = -math.degrees(math.atan2(b - c, a + d))
        quarters = round(counterclockwise / 90)
        tilt = counterclockwise - 90 * quarters
        return cls(quarters % 4, mirrored, round(tilt, 1) if abs(tilt) > TILT_DEGREES else 0.0)

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places."""
        return self.quarters % 2 == 1

    def apply(self, image: UInt8Array) -> UInt8Array:
        """Return the image (H, W, 3) as it is shown."""
        return rotate90(np.ascontiguousarray(image[:, ::-1]) if self.mirrored else image, self.quarters)
