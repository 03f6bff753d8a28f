"""Draw recognized faces into an image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.faces import Box
from fer_pipeline.inference.face_emotion import UNCERTAIN, FaceEmotion
from fer_pipeline.inference.tracking import TrackedFace

# Palette of Okabe and Ito, safe for colour-blind people; RGB.
COLOURS = {
    "angry": (213, 94, 0),
    "disgust": (0, 158, 115),
    "fear": (204, 121, 167),
    "happy": (240, 228, 66),
    "sad": (0, 114, 178),
    "surprise": (86, 180, 233),
    "neutral": (230, 159, 0),
    "uncertain": (160, 160, 160),
}


_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MIN_TEXT_SIZE = 0.4


def annotate(image: UInt8Array, faces: Sequence[FaceEmotion]) -> UInt8Array:
    """Draw box, emotion and probability of each face into a copy of an RGB image."""
    drawn = image.copy()
    for face in faces:
        if face.box_xyxy is not None:
            _draw(drawn, face.box_xyxy, face.emotion, _words(face.emotion, face.probabilities))
    return drawn


def annotate_tracked(image: UInt8Array, faces: Sequence[TrackedFace]) -> UInt8Array:
    """Draw person, smoothed emotion and probability into a copy of a video frame."""
    drawn = image.copy()
    for known in faces:
        if known.face.box_xyxy is not None:
            text = f"{known.track}: {_words(known.emotion, known.smoothed)}"
            _draw(drawn, known.face.box_xyxy, known.emotion, text)
    return drawn


def _words(emotion: str, probabilities: Sequence[float]) -> str:
    return emotion if emotion == UNCERTAIN else f"{emotion} {100 * max(probabilities):.0f} %"


def _draw(image: UInt8Array, box: Box, emotion: str, text: str) -> None:
    x1, y1, x2, y2 = (round(value) for value in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), COLOURS[emotion], max(2, (x2 - x1) // 60))
    _label(image, text, (x1, y1), x2 - x1, COLOURS[emotion])


def _label(image: UInt8Array, text: str, corner: tuple[int, int], wide: int, colour: tuple[int, int, int]) -> None:
    # As wide as the box if that is readable, above the box if there is room, and never outside the image.
    (natural, _), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    size = max(_MIN_TEXT_SIZE, 0.9 * wide / natural)
    stroke, pad = max(1, round(1.5 * size)), round(8 * size)
    (width, height), _ = cv2.getTextSize(text, _FONT, size, stroke)
    left = max(0, min(corner[0], image.shape[1] - width - 2 * pad))
    bottom = max(height + 2 * pad, corner[1])
    cv2.rectangle(image, (left, bottom - height - 2 * pad), (left + width + 2 * pad, bottom), colour, cv2.FILLED)
    cv2.putText(image, text, (left + pad, bottom - pad), _FONT, size, (0, 0, 0), stroke, cv2.LINE_AA)
