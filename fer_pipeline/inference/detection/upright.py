"""Find which way up an image is, from the faces in it."""

from __future__ import annotations

import math

from fer_pipeline.imaging import UInt8Array, rotate90, shrink
from fer_pipeline.inference.detection.faces import DETECTION_SIDE, FaceBox, FaceDetector

MIN_TURNED_SCORE = {"centerface": 0.55, "yunet": 0.8, "haar": 0.7}
"""Minimum score of a face that is found only after rotating the image, by detector.

On 70 pictures without a face, each in three rotations, CenterFace finds a face above it in none, YuNet and Haar in one.
"""

MAX_LEAN = 45.0
"""Largest angle of an upright face's midline from the vertical, in degrees."""

MIN_EYE_DISTANCE = 0.28
"""Of an upright face, in units of the square root of its box's area; 0.33 to 0.46 in nine of ten, 0.17 where it lies."""

MIN_HEIGHT = 0.85
"""Of an upright face's box, in widths; 1.03 to 1.46 in nine of ten, 0.48 to 0.69 where it lies on its side."""

_ROTATED_SIDE = 2 * DETECTION_SIDE


def is_upright(face: FaceBox) -> bool:
    """Return whether a face is seen from the front, with the eyes above the mouth.

    Detectors also find faces that lie on their side or stand on their head, and then often misplace the landmarks. Always true
    without landmarks.
    """
    if face.landmarks is None:
        return True
    (right_x, right_y), (left_x, left_y), _, (corner_x, corner_y), (other_x, other_y) = face.landmarks
    x1, y1, x2, y2 = face.box_xyxy
    down_x, down_y = (corner_x + other_x - right_x - left_x) / 2, (corner_y + other_y - right_y - left_y) / 2
    lean = math.degrees(math.atan2(abs(down_x), down_y))
    eyes = math.hypot(left_x - right_x, left_y - right_y) / math.sqrt((x2 - x1) * (y2 - y1))
    return lean <= MAX_LEAN and eyes >= MIN_EYE_DISTANCE and y2 - y1 >= MIN_HEIGHT * (x2 - x1)


def detect_upright(detector: FaceDetector, image: UInt8Array) -> tuple[UInt8Array, list[FaceBox], int]:
    """Detect the faces of an image, and rotate it where they are not upright.

    Returns the image rotated by `quarters` * 90 degrees counterclockwise, its faces, and `quarters`. The image is searched in the
    other rotations only where no face `is_upright`, and is rotated where one of them shows an upright face with at least
    `MIN_TURNED_SCORE` and a higher score than all faces of the image as it is; the highest score decides.
    """
    found = detector.detect(image)
    if any(is_upright(face) for face in found):
        return image, found, 0
    # Only a small copy is rotated: rotating a large image would take longer than everything else.
    small = shrink(image, _ROTATED_SIDE)
    scores = {0: max((face.score for face in found), default=0.0)}
    for quarters in (1, 2, 3):
        scores[quarters] = max((face.score for face in _upright(detector, rotate90(small, quarters))), default=0.0)
    best = max(scores, key=lambda quarters: scores[quarters])
    if not best:
        return image, found, 0
    rotated = rotate90(image, best)
    return rotated, _upright(detector, rotated), best


def _upright(detector: FaceDetector, image: UInt8Array) -> list[FaceBox]:
    least = MIN_TURNED_SCORE.get(detector.name, 0.0)
    return [face for face in detector.detect(image) if face.score >= least and is_upright(face)]
