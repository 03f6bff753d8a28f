"""From a picture to its faces with emotions: detect, cut out in the framing of FER-2013, classify all faces at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ParamsError
from fer_pipeline.faces import YUNET_FILE, Box, FaceBox, FaceDetector, HaarDetector, YuNetDetector, crop_box
from fer_pipeline.imaging import UInt8Array, crop, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.quality import FaceQuality, measure, share_outside
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

UNCERTAIN = "uncertain"

DEFAULT_THRESHOLD = 0.4
"""Calibrated probabilities mean that of the answers below this, more than 6 in 10 would be wrong."""


@dataclass(frozen=True)
class FaceEmotion:
    """One face. `box_xyxy` and `detection_score` come from the detector and are None where the picture was given as one face.

    `probabilities` are calibrated, in the order of `labels.EMOTIONS`, and sum to 1. `emotion` is the most probable label, or
    "uncertain" where its probability is below the recognizer's threshold. `reasons` says what makes the answer doubtful:
    "low_confidence" and those of `quality`.
    """

    box_xyxy: Box | None
    detection_score: float | None
    probabilities: tuple[float, ...]
    emotion: str
    quality: FaceQuality
    reasons: tuple[str, ...]

    @property
    def top_emotion(self) -> str:
        """The most probable label, however low its probability."""
        return EMOTIONS[int(np.argmax(self.probabilities))]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; boxes in pixels with one decimal, probabilities by label."""
        box = None
        if self.box_xyxy is not None:
            x1, y1, x2, y2 = self.box_xyxy
            box = {"x": round(x1, 1), "y": round(y1, 1), "width": round(x2 - x1, 1), "height": round(y2 - y1, 1)}
        return {
            "box": box,
            "detection_score": None if self.detection_score is None else round(self.detection_score, 4),
            "emotion": self.emotion,
            "top_emotion": self.top_emotion,
            "confidence": max(self.probabilities),
            "probabilities": dict(zip(EMOTIONS, self.probabilities, strict=True)),
            "quality": {
                "size": round(self.quality.size, 1),
                "sharpness": round(self.quality.sharpness, 1),
                "brightness": round(self.quality.brightness, 1),
                "outside": round(self.quality.outside, 3),
            },
            "reasons": list(self.reasons),
        }


class Recognizer:
    """Detector and classifier together; safe to call from several threads."""

    def __init__(self, classifier: EmotionClassifier, detector: FaceDetector, threshold: float = DEFAULT_THRESHOLD) -> None:
        """`threshold` in 0..1 is the probability below which the answer is "uncertain"; 0 always names an emotion."""
        if not 0 <= threshold <= 1:
            raise ParamsError(f"threshold is {threshold}, expected a probability in 0..1")
        self.classifier = classifier
        self.detector = detector
        self.threshold = threshold

    @classmethod
    def load(cls, folder: Path, detector: FaceDetector | None = None, threshold: float = DEFAULT_THRESHOLD) -> Recognizer:
        """The recognizer of an exported model's folder. Without a detector: YuNet where `yunet.onnx` lies in it, else Haar.

        Raises `ModelError` where the model does not load.
        """
        if detector is None:
            yunet = folder / YUNET_FILE
            detector = YuNetDetector(yunet) if yunet.exists() else HaarDetector()
        return cls(EmotionClassifier.load(folder), detector, threshold)

    @property
    def info(self) -> ModelInfo:
        """The facts of the model."""
        return self.classifier.info

    def recognize(self, image: UInt8Array) -> list[FaceEmotion]:
        """The faces found in an RGB (H, W, 3) or gray (H, W) picture, largest first; empty where there is none."""
        return self.recognize_found([(image, self.detector.detect(image))])[0]

    def recognize_many(self, images: Sequence[UInt8Array]) -> list[list[FaceEmotion]]:
        """The same for several pictures; the faces of all go through the network as one batch."""
        return self.recognize_found([(image, self.detector.detect(image)) for image in images])

    def recognize_found(self, pictures: Sequence[tuple[UInt8Array, Sequence[FaceBox]]]) -> list[list[FaceEmotion]]:
        """The emotions of faces that were found already, per picture and in their order; one batch for all of them."""
        scale = self.info.image_spec.crop_scale
        boxes = [(image, face, crop_box(face, scale)) for image, found in pictures for face in found]
        crops = [crop(image, box) for image, _, box in boxes]
        rows = self._probabilities(crops)
        faces = iter(
            self._judge(row, measure(cut, share_outside(box, image)), face.box_xyxy, face.score)
            for (image, face, box), cut, row in zip(boxes, crops, rows, strict=True)
        )
        return [[next(faces) for _ in found] for _, found in pictures]

    def recognize_face(self, image: UInt8Array) -> FaceEmotion:
        """The emotion of a picture, RGB or gray of any size, that already is one face in the framing of FER-2013."""
        return self._judge(self._probabilities([image])[0], measure(image), None, None)

    def name_of(self, probabilities: Sequence[float]) -> str:
        """The most probable label, or "uncertain" where its probability is below the threshold."""
        best = int(np.argmax(probabilities))
        return EMOTIONS[best] if probabilities[best] >= self.threshold else UNCERTAIN

    def _probabilities(self, crops: list[UInt8Array]) -> npt.NDArray[np.float64]:
        if not crops:
            return np.zeros((0, len(EMOTIONS)))
        return self.classifier.probabilities(np.stack([to_model_input(cut, self.info.image_spec) for cut in crops]))

    def _judge(
        self, row: npt.NDArray[np.float64], quality: FaceQuality, box: Box | None, detection_score: float | None
    ) -> FaceEmotion:
        probabilities = tuple(float(p) for p in row)
        emotion = self.name_of(probabilities)
        reasons = ("low_confidence", *quality.reasons) if emotion == UNCERTAIN else quality.reasons
        return FaceEmotion(box, detection_score, probabilities, emotion, quality, reasons)
