"""The result of emotion recognition for one face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from fer_pipeline.inference.detection.faces import Box
from fer_pipeline.inference.neutral.reference import ReferenceOrigin
from fer_pipeline.inference.output_schema import DIGITS, by_emotion
from fer_pipeline.inference.quality import FacePose, FaceQuality
from fer_pipeline.labels import EMOTIONS

UNCERTAIN = "uncertain"
LOW_CONFIDENCE = "low_confidence"


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
    `image_size` is (width, height) of the image as it was given; None where it was one face. `neutral_reference` says that the
    probabilities are relative to the person's own neutral face, and where that came from; None where they are the model's.
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
    neutral_reference: ReferenceOrigin | None = None

    @property
    def top_emotion(self) -> str:
        """Return the most probable label, however low its probability."""
        return EMOTIONS[self.probabilities.index(max(self.probabilities))]

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
        if self.box_xyxy is None or self.image_size is None:
            return None
        x1, y1, x2, y2 = self.box_xyxy
        width, height = self.image_size
        return Rectangle(x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)

    def as_dict(self) -> dict[str, Any]:
        """Return the values of `faces[]` in docs/outputs.md, as plain JSON.

        Floats have at most 4 decimals, pixels and degrees one.
        """
        box, relative, pose, quality = self.box, self.relative_box, self.pose, self.quality
        return {
            "box": box and _rounded(box, 1),
            "relative_box": relative and _rounded(relative, DIGITS),
            "detection_score": None if self.detection_score is None else round(self.detection_score, DIGITS),
            "rotation": self.rotation,
            "emotion": self.emotion,
            "top_emotion": self.top_emotion,
            "confidence": round(self.confidence, DIGITS),
            "probabilities": by_emotion(self.probabilities),
            "neutral_reference": self.neutral_reference,
            "quality": {
                "size": round(quality.size, 1),
                "sharpness": round(quality.sharpness, 1),
                "brightness": round(quality.brightness, 1),
                "outside": round(quality.outside, 3),
            },
            "pose": pose and {"roll": round(pose.roll, 1), "yaw": round(pose.yaw, 1)},
            "reasons": list(self.reasons),
        }


def _rounded(box: Rectangle, digits: int) -> dict[str, float]:
    x, y, width, height = box
    return {"x": round(x, digits), "y": round(y, digits), "width": round(width, digits), "height": round(height, digits)}
