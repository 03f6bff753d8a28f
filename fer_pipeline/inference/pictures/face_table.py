"""Convert recognized faces to flat rows for pandas, `csv` and Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.output_schema import columns, model_values
from fer_pipeline.model_info import ModelInfo

_BOX, _POSE = ("x", "y", "width", "height"), ("roll", "yaw")

PICTURE_COLUMNS = columns("pictures")
"""The keys of a row of `picture_rows`, in order."""


def picture_rows(
    faces: Sequence[FaceEmotion],
    info: ModelInfo,
    *,
    file: str | None,
    size: tuple[int, int] | None,
    error: str | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of one picture: one per face, or one without a face.

    `size` is (width, height) in pixels, `error` the reason why the picture could not be read; then `size` is None.
    docs/outputs.md says what each of `PICTURE_COLUMNS` holds.
    """
    model = model_values(info)
    common = dict.fromkeys(PICTURE_COLUMNS) | {
        "file": file,
        "picture_width": size and size[0],
        "picture_height": size and size[1],
        "faces": None if error else len(faces),
        "model": model["name"],
        "fingerprint": model["fingerprint"],
        "error": error,
    }
    return [{**common, "face": number, **face_values(face.as_dict())} for number, face in enumerate(faces, 1)] or [common]


def face_values(face: dict[str, Any]) -> dict[str, Any]:
    """Flatten the values of `FaceEmotion.as_dict` to columns."""
    return {
        **(face["box"] or dict.fromkeys(_BOX)),
        **{name: face[name] for name in ("detection_score", "rotation", "emotion", "top_emotion", "confidence")},
        **face["probabilities"],
        "neutral_reference": face["neutral_reference"],
        **face["quality"],
        **(face["pose"] or dict.fromkeys(_POSE)),
        "reasons": " ".join(face["reasons"]),
    }
