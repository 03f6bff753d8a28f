"""Face detectors behind one protocol. They return boxes in pixels of the picture they were given, never crops.

Haar is embedded in OpenCV 4 and needs nothing; YuNet is better and faster, but its network is a file of its own
(`face_detection_yunet_2023mar.onnx` of opencv_zoo, MIT licence).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

import cv2
import numpy as np

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array, shrink, to_bgr, to_gray
from fer_pipeline.model_info import file_sha256

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; may reach beyond the picture."""

YUNET_FILE = "yunet.onnx"
"""Name of a YuNet network that lies beside a model; where it is there, it is the detector."""

YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""Of face_detection_yunet_2023mar.onnx as published in opencv_zoo."""

DETECTION_SIDE = 640
"""Longer side, in pixels, of the copy that is searched for faces; faces of less than about 4 % of it are not found."""

HAAR_FILE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
"""The cascade in OpenCV."""

HAAR_SMALLEST = 24
"""Side, in pixels of the copy that is searched, of the smallest face that Haar looks for."""

HAAR_NEIGHBOURS = 8
"""More windows than this must agree on a face. At 5, one box in 78 on three sample videos and one in six on photographs is false;
at 8 none is, and no face is lost."""

YUNET_THRESHOLD = 0.6
"""Least score of a face of YuNet."""

YUNET_SMALLEST = 64
"""Least side, in pixels, of what YuNet is given. OpenCV 4.14 pads to multiples of 32, and with a side of 32 some of what it then
reads as boxes is memory that was never written: not-a-number, or anything."""

YUNET_FRAMING = (0.822, 0.088, -0.017)
"""Width, left and top of YuNet's box in the FER-2013 framing of the same face, in units of the framing's side.

Measured on 512 and 582 of 600 FER-2013 training pictures: in these units the median Haar box is (0.00, 0.01, 0.97, 0.97), that is
the picture itself, and the median YuNet box (x, y, width) = (0.09, -0.02, 0.82).
"""


@dataclass(frozen=True)
class FaceBox:
    """A face that was found.

    `box_xyxy` is the detector's own box, `framing_xyxy` the square around the same face in the framing of FER-2013. `score` in
    0..1 grows with the detector's confidence and compares only with scores of the same detector. `landmarks` are (x, y) of right
    eye, left eye, nose tip, right and left corner of the mouth (the person's right), where the detector knows them.
    """

    box_xyxy: Box
    framing_xyxy: Box
    score: float
    landmarks: tuple[tuple[float, float], ...] | None = None

    @property
    def tilt(self) -> float | None:
        """How many degrees the line of the eyes falls to the right, -180 to 180; None where the eyes are not known."""
        if self.landmarks is None:
            return None
        (right_x, right_y), (left_x, left_y) = self.landmarks[:2]
        return math.degrees(math.atan2(left_y - right_y, left_x - right_x))

    def scaled(self, scale: float) -> FaceBox:
        """The same face in a picture that is `scale` times as large."""
        landmarks = self.landmarks
        if landmarks is not None:
            landmarks = tuple((x * scale, y * scale) for x, y in landmarks)
        return FaceBox(_scaled(*self.box_xyxy, scale), _scaled(*self.framing_xyxy, scale), self.score, landmarks)


class FaceDetector(Protocol):
    """Finds faces; safe to call from several threads."""

    @property
    def name(self) -> str:
        """Short name for reports: "haar", "yunet"."""

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        """Faces of an RGB (H, W, 3) or gray (H, W) picture, largest first; empty where there is none."""


class HaarDetector:
    """Frontal faces by the Haar cascade of OpenCV (Viola and Jones 2001); `score` is n / (n + 8) of n agreeing windows."""

    name = "haar"

    def __init__(self, longest_side: int = DETECTION_SIDE) -> None:
        self._longest_side = longest_side
        self._cascade = cv2.CascadeClassifier(str(HAAR_FILE))
        if self._cascade.empty():
            raise ModelError("OpenCV has no Haar cascade: install opencv-python-headless >=4.14,<5")
        self._lock = Lock()  # a cascade keeps state while it runs

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        """Faces of an RGB or gray picture, largest first."""
        small = shrink(to_gray(image), self._longest_side)
        scale = image.shape[1] / small.shape[1]
        with self._lock:
            boxes, counts = self._cascade.detectMultiScale2(small, 1.1, HAAR_NEIGHBOURS, minSize=(HAAR_SMALLEST, HAAR_SMALLEST))
        faces = []
        for (x, y, width, height), count in zip(boxes, counts, strict=True):
            box = _scaled(float(x), float(y), float(x + width), float(y + height), scale)
            faces.append(FaceBox(box, box, float(count) / (float(count) + HAAR_NEIGHBOURS)))
        return _largest_first(faces)


class YuNetDetector:
    """Faces with landmarks by YuNet (Wu et al. 2023); `score` is the network's own.

    Raises `ModelError` where the file is missing or no such network.
    """

    name = "yunet"

    def __init__(self, model_file: Path, threshold: float = YUNET_THRESHOLD, longest_side: int = DETECTION_SIDE) -> None:
        if not model_file.is_file():
            raise ModelError(f"no face detector in {model_file}: give the path of face_detection_yunet_2023mar.onnx")
        try:
            self._network = cv2.FaceDetectorYN.create(str(model_file), "", (320, 320), threshold)
            self._network.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise ModelError(f"{model_file} is no YuNet network: {error}") from error
        self._longest_side = longest_side
        self._lock = Lock()  # the network keeps its input size and buffers

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        """Faces of an RGB or gray picture, largest first."""
        small = shrink(image, self._longest_side)
        scale = image.shape[1] / small.shape[1]
        small = _at_least(to_bgr(small), YUNET_SMALLEST)
        with self._lock:
            self._network.setInputSize((small.shape[1], small.shape[0]))
            _, rows = self._network.detect(small)
        faces = []
        for row in () if rows is None else rows.astype(float):
            x, y, width, height = row[:4]
            landmarks = tuple((float(a) * scale, float(b) * scale) for a, b in row[4:14].reshape(5, 2))
            box = _scaled(x, y, x + width, y + height, scale)
            faces.append(FaceBox(box, _framing_of_yunet(box), float(row[14]), landmarks))
        return _largest_first(faces)


def published_yunet(model_file: Path) -> YuNetDetector:
    """YuNet of a file that someone fetched; raises `ModelError` where it is not the published one, byte for byte."""
    detector = YuNetDetector(model_file)
    found = file_sha256(model_file)
    if found != YUNET_SHA256:
        raise ModelError(
            f"{model_file} has SHA-256 {found}, face_detection_yunet_2023mar.onnx of opencv_zoo has {YUNET_SHA256}: fetch it anew"
        )
    return detector


def crop_box(face: FaceBox, crop_scale: float) -> Box:
    """The square to cut out for the classifier: the FER-2013 framing, grown about its centre by `ImageSpec.crop_scale`."""
    x1, y1, x2, y2 = face.framing_xyxy
    half = (x2 - x1) * crop_scale / 2
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    return (middle_x - half, middle_y - half, middle_x + half, middle_y + half)


def _at_least(image: UInt8Array, side: int) -> UInt8Array:
    """The picture with black below and to its right where it is lower or narrower than `side` pixels."""
    height, width = image.shape[:2]
    if min(height, width) >= side:
        return image
    return np.asarray(
        cv2.copyMakeBorder(image, 0, max(0, side - height), 0, max(0, side - width), cv2.BORDER_CONSTANT), dtype=np.uint8
    )


def _framing_of_yunet(box: Box) -> Box:
    width, x, y = YUNET_FRAMING
    side = (box[2] - box[0]) / width
    left, top = box[0] - x * side, box[1] - y * side
    return (left, top, left + side, top + side)


def _scaled(x1: float, y1: float, x2: float, y2: float, scale: float) -> Box:
    return (float(x1 * scale), float(y1 * scale), float(x2 * scale), float(y2 * scale))


def _largest_first(faces: list[FaceBox]) -> list[FaceBox]:
    return sorted(faces, key=lambda face: face.framing_xyxy[0] - face.framing_xyxy[2])
