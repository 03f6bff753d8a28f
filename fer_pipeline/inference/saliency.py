"""Occlusion sensitivity maps of a face, and their drawing.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2: parts of the face are covered one
after the other, and the change of the prediction is their importance. It needs only predictions, so it serves any model. The
browser page computes the same maps (serving/web/device/recognizer.js) and draws them alike (serving/web/device/heat.js); `fer
explain-report` measures the faithfulness of these maps.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.model_info import Predict

PATCH: Final = 12
STRIDE: Final = 4
"""Side and step of the covered square, in pixels of the model input.

The side is about that of an eye or half a mouth.
"""

_ENLARGEMENT = 7
_FOR, _AGAINST = (178, 24, 43), (33, 102, 172)  # RGB: the ends of ColorBrewer's RdBu, told apart by colour-blind people
_OPACITY = 0.75  # at full colour
_FULL_COLOUR = 2.0  # the least change of the log-odds that is drawn in full colour


def occlusion_maps(face: UInt8Array, predict: Predict) -> npt.NDArray[np.float64]:
    """Compute the importance of each pixel of a face for each emotion.

    `face` is a model input uint8 (48, 48, 1); returns float64 (7, 48, 48). Importance is by how much the emotion's log-odds fall
    where a square around the pixel is covered by the face's mean gray, averaged over all squares that hold the pixel; negative
    where covering makes the emotion likelier.
    """
    starts = range(STRIDE - PATCH, FACE_SIZE, STRIDE)  # beyond the edges too, so that each pixel is in equally many squares
    squares = [
        (slice(max(y, 0), min(y + PATCH, FACE_SIZE)), slice(max(x, 0), min(x + PATCH, FACE_SIZE))) for y in starts for x in starts
    ]
    covered = np.repeat(face[np.newaxis], len(squares), axis=0)
    for image, square in zip(covered, squares, strict=True):
        image[square] = round(float(face.mean()))
    falls = _log_odds(predict(face[np.newaxis])) - _log_odds(predict(covered))
    total, count = np.zeros((falls.shape[1], FACE_SIZE, FACE_SIZE)), np.zeros((FACE_SIZE, FACE_SIZE))
    for fall, square in zip(falls, squares, strict=True):
        total[:, *square] += fall[:, np.newaxis, np.newaxis]
        count[square] += 1
    return np.asarray(total / count)


def draw_heat_map(face: UInt8Array, importance: npt.NDArray[np.float64], scale: float | None = None) -> UInt8Array:
    """Draw one importance map over its face, RGB uint8 (336, 336, 3).

    `face` is a model input uint8 (48, 48, 1), `importance` one map of `occlusion_maps`. What raises the log-odds is red, what
    lowers them blue, and the stronger the more opaque. `scale` is the importance in full colour; None: the highest of the map,
    at least 2.
    """
    scale = scale or max(_FULL_COLOUR, float(np.abs(importance).max()))
    colours = np.where((importance > 0)[:, :, np.newaxis], _FOR, _AGAINST)
    opacity = _OPACITY * (np.abs(importance) / scale)[:, :, np.newaxis]
    mixed = np.rint((1 - opacity) * np.repeat(face, 3, axis=2) + opacity * colours).astype(np.uint8)
    return np.ascontiguousarray(mixed.repeat(_ENLARGEMENT, axis=0).repeat(_ENLARGEMENT, axis=1))


def _log_odds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    kept = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(kept / (1 - kept)))
