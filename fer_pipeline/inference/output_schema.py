"""The one schema of results, for JSON, CSV, Parquet, HTTP and Python.

`docs/outputs.md` is made of it by `python -m tools.reference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

SCHEMA_VERSION: Final = 1
"""Version of the schema; it grows when a field goes, or changes its name, type or meaning."""

DIGITS: Final = 4
"""Decimals of every float, at most."""

SUM_TOLERANCE: Final = 0.0004
"""How far the seven rounded probabilities may be from the sum 1."""

Kind = Literal["text", "integer", "number", "yes or no", "texts"]
Table = Literal["pictures", "scores", "video"]


@dataclass(frozen=True)
class Field:
    """One field of a result.

    `path` is its place in JSON, `column` its name in tables; None where it is in one of both only. `tables` are those that have
    the column: "pictures" (`fer predict --csv`, `Recognition.to_pandas`), "scores" (`fer score`), "video" (`fer video`). An
    `optional` field may be null.
    """

    path: str | None
    column: str | None
    kind: Kind
    meaning: str
    tables: tuple[Table, ...] = ("pictures", "scores", "video")
    optional: bool = False


_PICTURES: Final[tuple[Table, ...]] = ("pictures", "scores")
_VIDEO: Final[tuple[Table, ...]] = ("video",)


def _box(name: str, meaning: str) -> tuple[Field, Field]:
    relative = "width" if name in ("x", "width") else "height"
    return (
        Field(f"faces[].box.{name}", name, "number", f"{meaning}, in pixels of the upright picture", optional=True),
        Field(f"faces[].relative_box.{name}", None, "number", f"{meaning}, in shares of the picture's {relative}", (), True),
    )


_BOXES = [
    _box("x", "left edge of the face"),
    _box("y", "upper edge of the face"),
    _box("width", "width of the face"),
    _box("height", "height of the face"),
]

FIELDS: Final = (
    Field("schema_version", None, "integer", "version of this schema; in Parquet files it is in the metadata of the file", ()),
    Field(None, "row", "integer", "position in its chunk, from 0", ("scores",)),
    Field("file", "file", "text", "the file as it was given; null for pictures from memory", _PICTURES, True),
    Field("picture.width", "picture_width", "integer", "pixels of the upright picture", _PICTURES, True),
    Field("picture.height", "picture_height", "integer", "pixels of the upright picture", _PICTURES, True),
    Field(None, "faces", "integer", "faces in this picture; null where it could not be read", _PICTURES, True),
    Field(None, "face", "integer", "number from 1, the largest first; null in a row without a face", _PICTURES, True),
    Field("frame", "frame", "integer", "number of the frame, from 0", _VIDEO),
    Field("time", "time", "number", "seconds from the beginning", _VIDEO),
    Field("track", "track", "integer", "number of the person, from 1", _VIDEO),
    Field("detected", "detected", "yes or no", "found in this frame; else the box is predicted", _VIDEO),
    *(box for box, _ in _BOXES),
    *(relative for _, relative in _BOXES),
    Field("faces[].detection_score", "detection_score", "number", "0..1, comparable for the same detector", optional=True),
    Field(
        "faces[].rotation", "rotation", "integer", "degrees against the clock by which the picture was turned to find the face"
    ),
    Field("faces[].emotion", "emotion", "text", 'the most probable label, or "uncertain"'),
    Field("faces[].top_emotion", "top_emotion", "text", "the most probable label, however doubtful"),
    Field("faces[].confidence", "confidence", "number", "calibrated probability of `top_emotion`"),
    *(Field(f"faces[].probabilities.{name}", name, "number", f"calibrated probability of {name}") for name in EMOTIONS),
    Field(
        "faces[].neutral_reference",
        "neutral_reference",
        "text",
        "given or track: the probabilities are relative to the person's own neutral face, and so no longer calibrated; it came "
        "from pictures that were given, or from the person's track in the video. Null where they are the model's",
        ("pictures", "video"),
        True,
    ),
    Field("smoothed_emotion", "smoothed_emotion", "text", "the label of the probabilities joined over time", _VIDEO),
    *(
        Field(f"smoothed.{name}", f"smoothed_{name}", "number", f"probability of {name}, joined over time", _VIDEO)
        for name in EMOTIONS
    ),
    Field("faces[].quality.size", "size", "number", "side of the cut-out face in pixels"),
    Field("faces[].quality.sharpness", "sharpness", "number", "variance of the Laplacian at 48x48"),
    Field("faces[].quality.brightness", "brightness", "number", "mean gray value, 0..255"),
    Field("faces[].quality.outside", "outside", "number", "share of the cut-out face outside the picture"),
    Field("faces[].pose.roll", "roll", "number", "degrees by which the line of the eyes falls to the right", optional=True),
    Field("faces[].pose.yaw", "yaw", "number", "degrees by which the face looks to the right of the picture", optional=True),
    Field(
        "faces[].reasons",
        "reasons",
        "texts",
        "what makes the answer doubtful: low_confidence, small, blurry, dark, bright, cut_off; in tables separated by spaces",
    ),
    Field(
        "model.name",
        "model",
        "text",
        "version in the registry (fer/3), name of the pretrained model (fast), or network; with (drawn faces) behind it where "
        "the model was trained on generated ones",
    ),
    Field("model.fingerprint", "fingerprint", "text", "of weights, temperature, labels and image spec"),
    Field("error.code", None, "text", "why the picture could not be read, for programs; `error` is null where it was", (), True),
    Field("error.message", "error", "text", "why the picture could not be read", _PICTURES, True),
)


def columns(table: Table) -> tuple[str, ...]:
    """Return the columns of a table, in order."""
    return tuple(field.column for field in fields(table) if field.column is not None)


def fields(table: Table) -> tuple[Field, ...]:
    """Return the fields that are columns of a table, in order."""
    return tuple(field for field in FIELDS if table in field.tables)


def by_emotion(probabilities: Sequence[float]) -> dict[str, float]:
    """Return probabilities by emotion, rounded to `DIGITS`.

    They are in the order of `labels.EMOTIONS`.
    """
    return {name: round(value, DIGITS) for name, value in zip(EMOTIONS, probabilities, strict=True)}


def model_values(info: ModelInfo) -> dict[str, str]:
    """Return the values of `model`: name and fingerprint."""
    return {"name": info.name, "fingerprint": info.fingerprint}
