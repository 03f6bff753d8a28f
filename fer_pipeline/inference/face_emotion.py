"""The result of emotion recognition for one face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fer_pipeline.inference.detection.faces import Box
from fer_pipeline.inference.output_schema import rounded
from fer_pipeline.inference.quality import FacePose, FaceQuality
from fer_pipeline.labels import EMOTIONS

UNCERTAIN = "uncertain"


class Rectangle(NamedTuple):
    """Left, top, width and height of a face; it may reach beyond the image."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class FaceEmotion:
    """Emotion, quality and position of one face.

    `box_xyxy` and `detection_score` come from the detector and are None where the image was given as one face. `probabilities`
    are calibrated, in the order of `labels.EMOTIONS`, and sum to 1. `emotion` is the most probable label, or "uncertain" where
    its probability is below the recognizer's threshold. `reasons` names what makes the result doubtful: "low_confidence" and
    those of `quality`. `rotation` is 0 or, where the face was found only after rotating the whole image, the counterclockwise
    angle in degrees: 90, 180 or 270; the box is in pixels of the image as it was given. `pose` is None without landmarks.
    `image_size` is (width, height) of the image as it was given; None where it was one face.
    """

    box_xyxy: Box | None
    detection_score: float | None
    probabilities: tuple[float, ...]
    emotion: str
    quality: FaceQuality
    reasons: tuple[str, ...]
    rotation: int = 0
    pose: FacePose | None = None
    image_size: tuple[int, int] | None = None

    @property
    def top_emotion(self) -> str:
        """Return the most probable label, however low its probability."""
        return EMOTIONS[int(np.argmax(self.probabilities))]

    @property
    def confidence(self) -> float:
        """Return the calibrated probability of `top_emotion`, in 0..1."""
        return max(self.probabilities)

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Return the emotions with their probabilities, the most probable first."""
        return sorted(zip(EMOTIONS, self.probabilities, strict=True), key=lambda pair: -pair[1])

    @property
    def box(self) -> Rectangle | None:
        """Return the face in pixels of the image; None where the image was the face."""
        if self.box_xyxy is None:
            return None
        x1, y1, x2, y2 = self.box_xyxy
        return Rectangle(x1, y1, x2 - x1, y2 - y1)

    @property
    def relative_box(self) -> Rectangle | None:
        """Return the face in shares of the image's width and height; None as `box`."""
        if self.box is None or self.image_size is None:
            return None
        width, height = self.image_size
        return Rectangle(self.box.x / width, self.box.y / height, self.box.width / width, self.box.height / height)

    def as_dict(self) -> dict[str, Any]:
        """Return the values of `faces[]` in docs/outputs.md, as plain JSON.

        Floats have at most 4 decimals, pixels and degrees one.
        """
        box, relative, pose = self.box, self.relative_box, self.pose
        values = {
            "box": box and {name: round(value, 1) for name, value in box._asdict().items()},
            "relative_box": relative and relative._asdict(),
            "detection_score": self.detection_score,
            "rotation": self.rotation,
            "emotion": self.emotion,
            "top_emotion": self.top_emotion,
            "confidence": self.confidence,
            "probabilities": dict(zip(EMOTIONS, self.probabilities, strict=True)),
            "quality": {
                "size": round(self.quality.size, 1),
                "sharpness": round(self.quality.sharpness, 1),
                "brightness": round(self.quality.brightness, 1),
                "outside": round(self.quality.outside, 3),
            },
            "pose": pose and {"roll": round(pose.roll, 1), "yaw": round(pose.yaw, 1)},
            "reasons": list(self.reasons),
        }
        return {name: rounded(value) for name, value in values.items()}
