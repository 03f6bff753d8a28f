"""A heat map as a picture; serving/web/device/heat.js draws the same in the browser."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fer_pipeline.imaging import UInt8Array

_ENLARGED = 7  # times
_FULL_COLOUR = 2.0  # change of the log-odds that is drawn in full colour at least


def heat_picture(face: UInt8Array, importance: npt.NDArray[np.float64]) -> UInt8Array:
    """RGB uint8 (336, 336, 3): the model input with what speaks for the answer in yellow and red, what against it in blue."""
    scale = max(_FULL_COLOUR, float(np.abs(importance).max()))
    level = np.clip(128 + 127 * importance / scale, 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(level, cv2.COLORMAP_JET)[:, :, ::-1].astype(np.float64)
    opacity = 0.65 * (np.abs(importance) / scale)[:, :, np.newaxis]
    mixed = np.rint((1 - opacity) * np.repeat(face, 3, axis=2) + opacity * colours).astype(np.uint8)
    return np.ascontiguousarray(mixed.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))
