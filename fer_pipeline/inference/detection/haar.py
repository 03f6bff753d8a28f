"""Detect faces with the Haar cascade that comes with OpenCV 4."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import cv2

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array, shrink, to_gray
from fer_pipeline.inference.detection.faces import DETECTION_SIDE, FaceBox, largest_first, scale_box

HAAR_FILE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
"""The cascade in OpenCV."""

HAAR_MIN_SIDE = 24
"""Side, in pixels of the searched copy, of the smallest face that is detected."""

HAAR_MIN_NEIGHBOURS = 8
"""A face needs more overlapping detection windows than this.

At 5, one box in 78 on three sample videos and one in six on photographs is false; at 8 none is, and no face is lost.
"""


class HaarDetector:
    """Frontal faces by a Haar cascade (Viola and Jones 2001).

    The score of a face is n / (n + 8), where n is the number of overlapping windows.
    """

    name = "haar"

    def __init__(self, longest_side: int = DETECTION_SIDE) -> None:
        """Raise `ModelError` where OpenCV comes without the cascade."""
        self._longest_side = longest_side
        self._cascade = cv2.CascadeClassifier(str(HAAR_FILE))
        if self._cascade.empty():
            raise ModelError("OpenCV has no Haar cascade: install opencv-python-headless >=4.14,<5")
        self._lock = Lock()  # a cascade keeps state while it runs

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        """Detect the faces of an RGB (H, W, 3) or gray (H, W) image, largest first."""
        small = shrink(to_gray(image), self._longest_side)
        scale = image.shape[1] / small.shape[1]
        smallest = (HAAR_MIN_SIDE, HAAR_MIN_SIDE)
        with self._lock:
            boxes, counts = self._cascade.detectMultiScale2(small, 1.1, HAAR_MIN_NEIGHBOURS, minSize=smallest)
        faces = []
        for (x, y, width, height), count in zip(boxes, counts, strict=True):
            box = scale_box((x, y, x + width, y + height), scale)
            faces.append(FaceBox(box, box, float(count) / (float(count) + HAAR_MIN_NEIGHBOURS)))
        return largest_first(faces)
