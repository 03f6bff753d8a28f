"""Which parts of a face an answer rests on: cover one after the other and see how the answer changes.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2. It asks a model for answers only, so
it serves any. The service shows these maps, serving/web/device/recognizer.js computes the same ones in the browser, and the
faithfulness of `fer explain-report` is that of these.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.model_info import Predict

PATCH: Final = 12
STRIDE: Final = 4
"""Side of the covered square, about an eye or half a mouth, and its step, in pixels of the model input."""


def occlusion_maps(face: UInt8Array, predict: Predict) -> npt.NDArray[np.float64]:
    """Importance float64 (7, 48, 48) of each pixel of a model input uint8 (48, 48, 1) for each emotion.

    It is by how much the emotion's log-odds fall where a square around the pixel is covered by the face's mean gray, averaged
    over all squares that hold the pixel; negative where covering makes the emotion likelier.
    """
    starts = range(STRIDE - PATCH, FACE_SIZE, STRIDE)  # beyond the edges too, so that each pixel lies in equally many squares
    squares = [
        (slice(max(y, 0), min(y + PATCH, FACE_SIZE)), slice(max(x, 0), min(x + PATCH, FACE_SIZE))) for y in starts for x in starts
    ]
    covered = np.repeat(face[np.newaxis], len(squares), axis=0)
    for picture, square in zip(covered, squares, strict=True):
        picture[square] = round(float(face.mean()))
    falls = _log_odds(predict(face[np.newaxis])) - _log_odds(predict(covered))
    total, count = np.zeros((falls.shape[1], FACE_SIZE, FACE_SIZE)), np.zeros((FACE_SIZE, FACE_SIZE))
    for fall, square in zip(falls, squares, strict=True):
        total[:, *square] += fall[:, np.newaxis, np.newaxis]
        count[square] += 1
    return np.asarray(total / count)


def _log_odds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    kept = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(kept / (1 - kept)))
