"""From a picture to its faces with emotions: detect, cut out in the framing of FER-2013, classify all faces at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import UInt8Array, crop, crop_turned, shrink, to_model_input, turned, turned_box
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.detectors import (
    DETECTION_SIDE,
    YUNET_FILE,
    Box,
    FaceBox,
    FaceDetector,
    HaarDetector,
    YuNetDetector,
    crop_box,
)
from fer_pipeline.inference.pretrained import model_folder
from fer_pipeline.inference.quality import FacePose, FaceQuality, measure, share_outside
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

UNCERTAIN = "uncertain"

DEFAULT_THRESHOLD = 0.4
"""Calibrated probabilities mean that of the answers below this, more than 6 in 10 would be wrong."""

_TURNED_SIDE = 2 * DETECTION_SIDE

LEVEL_DEGREES = 15.0
"""Faces whose eyes are less out of level stay as they are, like those of FER-2013.

Measured on 1,500 validation faces that were turned in their picture and found again by YuNet, right as they are and with the eyes
level: 57.3 and 57.5 % at 10 degrees, 54.5 and 56.6 at 20, 46.9 and 59.3 at 30, 31.7 and 54.1 at 45. Unturned it changes nothing.
"""


@dataclass(frozen=True)
class FaceEmotion:
    """One face. `box_xyxy` and `detection_score` come from the detector and are None where the picture was given as one face.

    `probabilities` are calibrated, in the order of `labels.EMOTIONS`, and sum to 1. `emotion` is the most probable label, or
    "uncertain" where its probability is below the recognizer's threshold. `reasons` says what makes the answer doubtful:
    "low_confidence" and those of `quality`. `rotation` is 0 or, where a face was found only after turning the whole picture, by
    how many degrees against the clock: 90, 180 or 270; the box is that in the picture as it was given.
    """

    box_xyxy: Box | None
    detection_score: float | None
    probabilities: tuple[float, ...]
    emotion: str
    quality: FaceQuality
    reasons: tuple[str, ...]
    rotation: int = 0
    pose: FacePose | None = None  # where the detector knows landmarks

    @property
    def top_emotion(self) -> str:
        """The most probable label, however low its probability."""
        return EMOTIONS[int(np.argmax(self.probabilities))]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; boxes in pixels with one decimal, probabilities by label.

        `rotation` only where it is not 0, `pose` only where it is known.
        """
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
            **({"rotation": self.rotation} if self.rotation else {}),
            **({"pose": {"roll": round(self.pose.roll, 1), "yaw": round(self.pose.yaw, 1)}} if self.pose else {}),
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
    def load(cls, model: str | Path, detector: FaceDetector | None = None, threshold: float = DEFAULT_THRESHOLD) -> Recognizer:
        """The recognizer of a shipped model by its name ("fast"), of an exported model by its folder, or of the workspace's
        "champion" or "challenger".

        Without a detector: YuNet where `yunet.onnx` lies in the model's folder, else Haar. Raises `ModelError` where there is no
        such name or folder, or the model does not load.
        """
        folder = model_folder(model) if isinstance(model, str) else model
        if detector is None:
            yunet = folder / YUNET_FILE
            detector = YuNetDetector(yunet) if yunet.exists() else HaarDetector()
        return cls(EmotionClassifier.load(folder), detector, threshold)

    @property
    def info(self) -> ModelInfo:
        """The facts of the model."""
        return self.classifier.info

    def recognize(self, image: UInt8Array) -> list[FaceEmotion]:
        """The faces found in an RGB (H, W, 3) or gray (H, W) picture, largest first; empty where there is none.

        Where nothing is found, the picture is searched again turned by 90, 180 and 270 degrees, and the surest face decides.
        """
        return self.recognize_many([image])[0]

    def recognize_cut(self, image: UInt8Array) -> list[tuple[FaceEmotion, UInt8Array]]:
        """The faces of `recognize`, each with what was cut out of the picture for it: upright, square, in the picture's colours.

        `imaging.to_model_input` of the latter is what the network saw.
        """
        return self._recognize_cut([image])[0]

    def recognize_many(self, images: Sequence[UInt8Array]) -> list[list[FaceEmotion]]:
        """The same as `recognize` for several pictures; the faces of all go through the network as one batch."""
        return [[face for face, _ in faces] for faces in self._recognize_cut(images)]

    def recognize_found(self, pictures: Sequence[tuple[UInt8Array, Sequence[FaceBox]]]) -> list[list[FaceEmotion]]:
        """The emotions of faces that were found already, per picture and in their order; one batch for all of them.

        A face whose eyes are more than `LEVEL_DEGREES` out of level is cut out with the eyes level.
        """
        return [[face for face, _ in faces] for faces in self._judge_found(pictures)]

    def recognize_face(self, image: UInt8Array) -> FaceEmotion:
        """The emotion of a picture, RGB or gray of any size, that already is one face in the framing of FER-2013."""
        return self._judge(self._probabilities([image])[0], measure(image), None)

    def recognize_prepared(self, model_input: UInt8Array) -> FaceEmotion:
        """The same of what `imaging.to_model_input` made of a face before, uint8 (48, 48, 1): a row of the processed table."""
        return self._judge(self.classifier.probabilities(model_input[np.newaxis])[0], measure(model_input[:, :, 0]), None)

    def name_of(self, probabilities: Sequence[float]) -> str:
        """The most probable label, or "uncertain" where its probability is below the threshold."""
        best = int(np.argmax(probabilities))
        return EMOTIONS[best] if probabilities[best] >= self.threshold else UNCERTAIN

    def _recognize_cut(self, images: Sequence[UInt8Array]) -> list[list[tuple[FaceEmotion, UInt8Array]]]:
        searched = [self._search(image) for image in images]
        answers = self._judge_found([(picture, found) for picture, found, _ in searched])
        return [
            [(_turned_back(face, picture, quarters), cut) for face, cut in faces] if quarters else faces
            for (picture, _, quarters), faces in zip(searched, answers, strict=True)
        ]

    def _judge_found(
        self, pictures: Sequence[tuple[UInt8Array, Sequence[FaceBox]]]
    ) -> list[list[tuple[FaceEmotion, UInt8Array]]]:
        scale = self.info.image_spec.crop_scale
        boxes = [(image, face, crop_box(face, scale)) for image, found in pictures for face in found]
        crops = [crop_face(image, face, box) for image, face, box in boxes]
        rows = self._probabilities(crops)
        faces = iter(
            (self._judge(row, measure(cut, share_outside(box, image)), face), cut)
            for (image, face, box), cut, row in zip(boxes, crops, rows, strict=True)
        )
        return [[next(faces) for _ in found] for _, found in pictures]

    def _search(self, image: UInt8Array) -> tuple[UInt8Array, list[FaceBox], int]:
        found = self.detector.detect(image)
        if found:
            return image, found, 0
        # A detector that sees faces upside down, as YuNet does, finds those of a lying picture twice; upright it is surer. Only a
        # small copy is turned: of a large picture turning would take longer than all else.
        small = shrink(image, _TURNED_SIDE)
        sure = {
            quarters: max((face.score for face in self.detector.detect(turned(small, quarters))), default=0.0)
            for quarters in (1, 2, 3)
        }
        best = max(sure, key=lambda quarters: sure[quarters])
        if not sure[best]:
            return image, [], 0
        picture = turned(image, best)
        return picture, self.detector.detect(picture), best

    def _probabilities(self, crops: list[UInt8Array]) -> npt.NDArray[np.float64]:
        if not crops:
            return np.zeros((0, len(EMOTIONS)))
        return self.classifier.probabilities(np.stack([to_model_input(cut, self.info.image_spec) for cut in crops]))

    def _judge(self, row: npt.NDArray[np.float64], quality: FaceQuality, found: FaceBox | None) -> FaceEmotion:
        probabilities = tuple(float(p) for p in row)
        emotion = self.name_of(probabilities)
        reasons = ("low_confidence", *quality.reasons) if emotion == UNCERTAIN else quality.reasons
        box, score, pose = (found.box_xyxy, found.score, FacePose.of(found)) if found else (None, None, None)
        return FaceEmotion(box, score, probabilities, emotion, quality, reasons, pose=pose)


def crop_face(image: UInt8Array, face: FaceBox, box: Box) -> UInt8Array:
    """What the network sees of a face: the box, turned where the eyes are more than `LEVEL_DEGREES` out of level."""
    tilt = face.tilt
    return crop(image, box) if tilt is None or abs(tilt) <= LEVEL_DEGREES else crop_turned(image, box, tilt)


def _turned_back(face: FaceEmotion, picture: UInt8Array, quarters: int) -> FaceEmotion:
    box = None if face.box_xyxy is None else turned_box(face.box_xyxy, picture, 4 - quarters)
    return replace(face, box_xyxy=box, rotation=90 * quarters, pose=face.pose and face.pose.turned(quarters))
