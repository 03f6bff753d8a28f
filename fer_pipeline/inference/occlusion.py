"""Which parts of a face an answer rests on: cover one after the other and see how the answer changes.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2. It asks the network for answers
only, so it serves any model.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier

PATCH, STRIDE = 12, 4
"""Side of the covered square and its step in pixels of the model input: an eye or half a mouth, 144 places."""

_ENLARGED = 7  # times, of a heat map picture
_FULL_COLOUR = 2.0  # change of the logit, in units of the temperature, that is drawn in full colour at least


def occlusion_map(classifier: EmotionClassifier, face: UInt8Array, emotion: int) -> npt.NDArray[np.float64]:
    """Importance float64 (48, 48) of each pixel of a model input uint8 (48, 48, 1) for the emotion's class id 0..6.

    It is by how much the emotion's calibrated log-odds fall where a square around the pixel is covered by the face's mean gray,
    averaged over all squares that hold the pixel; negative where covering makes the emotion likelier. Raises `ParamsError` for
    another class id.
    """
    if not 0 <= emotion < len(classifier.info.labels):
        raise ParamsError(f"emotion is {emotion}, expected a class id in 0..{len(classifier.info.labels) - 1}")
    starts = range(STRIDE - PATCH, FACE_SIZE, STRIDE)  # beyond the edges too, so that each pixel lies in equally many squares
    squares = [
        (slice(max(y, 0), min(y + PATCH, FACE_SIZE)), slice(max(x, 0), min(x + PATCH, FACE_SIZE))) for y in starts for x in starts
    ]
    covered = np.repeat(face[np.newaxis], len(squares), axis=0)
    for picture, square in zip(covered, squares, strict=True):
        picture[square] = round(float(face.mean()))
    before = _log_odds(classifier.probabilities(face[np.newaxis]))[0, emotion]
    falls = before - _log_odds(classifier.probabilities(covered))[:, emotion]
    total, count = np.zeros((FACE_SIZE, FACE_SIZE)), np.zeros((FACE_SIZE, FACE_SIZE))
    for fall, square in zip(falls, squares, strict=True):
        total[square] += fall
        count[square] += 1
    return np.asarray(total / count)


def heat_picture(face: UInt8Array, importance: npt.NDArray[np.float64]) -> UInt8Array:
    """RGB uint8 (336, 336, 3): the model input with what speaks for the answer in yellow and red, what against it in blue."""
    scale = max(_FULL_COLOUR, float(np.abs(importance).max()))
    level = np.clip(128 + 127 * importance / scale, 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(level, cv2.COLORMAP_JET)[:, :, ::-1].astype(np.float64)
    opacity = 0.65 * (np.abs(importance) / scale)[:, :, np.newaxis]
    mixed = np.rint((1 - opacity) * np.repeat(face, 3, axis=2) + opacity * colours).astype(np.uint8)
    return np.ascontiguousarray(mixed.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))


def _log_odds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    kept = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(kept / (1 - kept)))
