"""The faces of a picture as flat rows, which pandas, `csv` and Arrow take as they are."""

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
"""The keys of a row of `face_rows`, in their order, after those of the picture."""


def face_rows(faces: Sequence[FaceEmotion], /, **picture: Any) -> list[dict[str, Any]]:
    """One flat row for each face that a `Recognizer` answered for one picture, in its order; `pandas.DataFrame(rows)` takes them.

    `picture` is what each row says of the picture, in columns before the others: `face_rows(faces, picture="a.jpg")`. Then come
    `FACE_COLUMNS`: the number of the face from 1, its box in pixels (None where the picture was given as one face, as is
    `detection_score`), `rotation` in degrees, the answer, the probability of each emotion under its name, the quality of the
    crop as in `FaceQuality`, and `reasons` separated by blanks.
    """
    return [{**picture, "face": number, **_values(face)} for number, face in enumerate(faces, 1)]


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
