"""Convert recognized faces to flat rows for pandas, `csv` and Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.labels import EMOTIONS

_BOX = ("x", "y", "width", "height")

FACE_COLUMNS = (
    "face", *_BOX, "detection_score", "rotation", "emotion", "top_emotion", "confidence",
    *EMOTIONS, "size", "sharpness", "brightness", "outside", "reasons",
)  # fmt: skip
"""The keys of a row of `face_rows`, in order, after those of the image."""


def face_rows(faces: Sequence[FaceEmotion], /, **columns: Any) -> list[dict[str, Any]]:
    """Return one flat row per face of one image, as for `pandas.DataFrame(rows)`.

    Keyword arguments become the first columns of each row: `face_rows(faces, file="a.jpg")`. Then come `FACE_COLUMNS`: the number
    of the face from 1, its box in pixels (None where the image was given as one face, as is `detection_score`), `rotation` in
    degrees, the emotion, the probability of each emotion under its name, the quality of the crop as in `FaceQuality`, and
    `reasons` separated by spaces.
    """
    return [{**columns, "face": number, **_values(face)} for number, face in enumerate(faces, 1)]


def _values(face: FaceEmotion) -> dict[str, Any]:
    values = face.as_dict()
    return {
        **(values["box"] or dict.fromkeys(_BOX)),
        "detection_score": values["detection_score"],
        "rotation": face.rotation,
        "emotion": face.emotion,
        "top_emotion": face.top_emotion,
        "confidence": values["confidence"],
        **values["probabilities"],
        **values["quality"],
        "reasons": " ".join(face.reasons),
    }
