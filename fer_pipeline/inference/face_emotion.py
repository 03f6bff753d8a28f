"""The result of emotion recognition for one face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_pipeline.inference.detection.faces import Box
from fer_pipeline.inference.quality import FacePose, FaceQuality
from fer_pipeline.labels import EMOTIONS

UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class FaceEmotion:
    """Emotion, quality and position of one face.

    `box_xyxy` and `detection_score` come from the detector and are None where the image was given as one face. `probabilities`
    are calibrated, in the order of `labels.EMOTIONS`, and sum to 1. `emotion` is the most probable label, or "uncertain" where
    its probability is below the recognizer's threshold. `reasons` names what makes the result doubtful: "low_confidence" and
    those of `quality`. `rotation` is 0 or, where the face was found only after rotating the whole image, the counterclockwise
    angle in degrees: 90, 180 or 270; the box is in pixels of the image as it was given. `pose` is None without landmarks.
    """

    box_xyxy: Box | None
    detection_score: float | None
    probabilities: tuple[float, ...]
    emotion: str
    quality: FaceQuality
    reasons: tuple[str, ...]
    rotation: int = 0
    pose: FacePose | None = None

    @property
    def top_emotion(self) -> str:
        """Return the most probable label, however low its probability."""
        return EMOTIONS[int(np.argmax(self.probabilities))]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with boxes rounded to 0.1 pixel.

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
