"""Detect faces and five landmarks with YuNet.

YuNet is more accurate and faster than Haar; its network is a separate file, `face_detection_yunet_2023mar.onnx` of opencv_zoo
(MIT licence).
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array, shrink, to_bgr
from fer_pipeline.inference.detection.faces import DETECTION_SIDE, Box, FaceBox, largest_first, scale_box
from fer_pipeline.model_info import file_sha256

YUNET_FILE = "yunet.onnx"
"""Name of a YuNet network in the folder of a model."""

YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""Of face_detection_yunet_2023mar.onnx as published in opencv_zoo."""

YUNET_MIN_SCORE = 0.6
"""Minimum score of a face."""

YUNET_MIN_SIDE = 64
"""Minimum side, in pixels, of the network's input.

OpenCV 4.14 pads to multiples of 32. With a side of 32 it reads some boxes from uninitialized memory: they are NaN or random.
"""

YUNET_FRAMING = (0.822, 0.088, -0.017)
"""Width, left and top of YuNet's box in the FER-2013 framing of the same face.

In units of the framing's side. Measured on 512 and 582 of 600 FER-2013 training images: in these units the median Haar box is
(0.00, 0.01, 0.97, 0.97), that is the image itself, and the median YuNet box (x, y, width) = (0.09, -0.02, 0.82).
"""


class YuNetDetector:
    """Faces with landmarks by YuNet (Wu et al. 2023), with the network's scores."""

    name = "yunet"

    def __init__(self, model_file: Path, min_score: float = YUNET_MIN_SCORE, longest_side: int = DETECTION_SIDE) -> None:
        """Raise `ModelError` where the file is missing or not a YuNet network."""
        if not model_file.is_file():
            raise ModelError(f"no face detector in {model_file}: give the path of face_detection_yunet_2023mar.onnx")
        try:
            self._network = cv2.FaceDetectorYN.create(str(model_file), "", (320, 320), min_score)
            self._network.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise ModelError(f"{model_file} is not a YuNet network ({error}): fetch it with `fer models fetch yunet`") from error
        self._longest_side = longest_side
        self._lock = Lock()  # the network keeps its input size and buffers

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        """Detect the faces of an RGB (H, W, 3) or gray (H, W) image, largest first."""
        small = shrink(image, self._longest_side)
        scale = image.shape[1] / small.shape[1]
        small = _padded(to_bgr(small), YUNET_MIN_SIDE)
        with self._lock:
            self._network.setInputSize((small.shape[1], small.shape[0]))
            _, rows = self._network.detect(small)
        faces = []
        for row in () if rows is None else rows.astype(float):
            x, y, width, height = row[:4]
            landmarks = tuple((float(a) * scale, float(b) * scale) for a, b in row[4:14].reshape(5, 2))
            box = scale_box((x, y, x + width, y + height), scale)
            faces.append(FaceBox(box, _framing(box), float(row[14]), landmarks))
        return largest_first(faces)


def published_yunet(model_file: Path) -> YuNetDetector:
    """Load YuNet from a fetched file; raise `ModelError` where its SHA-256 differs.

    The expected file is the one published in opencv_zoo, `YUNET_SHA256`.
    """
    detector = YuNetDetector(model_file)
    found = file_sha256(model_file)
    if found != YUNET_SHA256:
        raise ModelError(
            f"{model_file} has SHA-256 {found}, face_detection_yunet_2023mar.onnx of opencv_zoo has {YUNET_SHA256}: "
            "fetch it again"
        )
    return detector


def _padded(image: UInt8Array, side: int) -> UInt8Array:
    height, width = image.shape[:2]
    if min(height, width) >= side:
        return image
    below, right = max(0, side - height), max(0, side - width)
    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), dtype=np.uint8)


def _framing(box: Box) -> Box:
    width, x, y = YUNET_FRAMING
    side = (box[2] - box[0]) / width
    left, top = box[0] - x * side, box[1] - y * side
    return (left, top, left + side, top + side)
