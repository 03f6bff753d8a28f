"""Score batches of images: the function that Spark maps over its partitions.

Each image gives at least one row: one per face, or one without face that states that none was found or what was wrong. Images are
classified one at a time, so that a result does not depend on the partitions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Literal

import cv2
import numpy as np
import pyarrow as pa

from fer_pipeline import imaging
from fer_pipeline.data.storage import storage_location
from fer_pipeline.errors import ImageError, ToolUnavailableError
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.output_schema import SCHEMA_VERSION, Field, fields
from fer_pipeline.inference.pictures.face_table import picture_rows
from fer_pipeline.inference.recognizer import Recognizer

Framing = Literal["detect", "crop", "prepared"]
"""Detect faces in the image, take it as one face, or as a model input.

A model input is 48 * 48 gray bytes.
"""

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

MAX_FILE_BYTES: Final = 100_000_000
"""Largest image file that is read."""

PICTURES: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # position in its chunk
        pa.field("picture", pa.string()),  # path below the input folder, or id of the row
        pa.field("path", pa.binary()),  # file to read, as encoded by the file system, or its URI, or
        pa.field("image", pa.binary()),  # the bytes themselves, or
        pa.field("fault", pa.string()),  # why there is no picture; the others are null
    ]
)

_KINDS: Final = {"text": pa.string(), "integer": pa.int32(), "number": pa.float64(), "texts": pa.string()}
_NOT_NULL: Final = ("row", "file", "model", "fingerprint")


def _column(field: Field) -> pa.Field:
    kind = pa.int64() if field.column == "row" else _KINDS[field.kind]
    return pa.field(field.column, kind, nullable=field.column not in _NOT_NULL)


SCORES: Final = pa.schema([_column(field) for field in fields("scores")], metadata={"fer_schema_version": str(SCHEMA_VERSION)})
"""One row per face; one row for an image without face, or that cannot be read.

docs/outputs.md says what the columns hold. `file` is the name as given, "row 7" where the row has none.
"""


def scorer(model: PortableModel, threshold: float, framing: Framing) -> BatchFunction:
    """Return a function from batches of `PICTURES` to batches of `SCORES`.

    Each process loads the model once.
    """

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        recognizer = _recognizer(model, threshold)
        for batch in batches:
            columns = [batch.column(batch.schema.get_field_index(name)) for name in PICTURES.names]
            rows: list[dict[str, Any]] = []
            for values in zip(*columns, strict=True):  # one image at a time is converted to Python
                rows += score_image(recognizer, framing, *(value.as_py() for value in values))
            yield pa.RecordBatch.from_pylist(rows, schema=SCORES)

    return score


def score_image(
    recognizer: Recognizer,
    framing: Framing,
    row: int,
    picture: str | None,
    path: bytes | None,
    image: bytes | None,
    missing: str | None = None,
) -> list[dict[str, Any]]:
    """Score one image; return its rows as values of `SCORES`.

    `missing` says why there is neither a path nor an image. Raises `ToolUnavailableError` where an object store fails.
    """
    faces: list[FaceEmotion] = []
    size, error = None, None
    try:
        faces, size = _faces(recognizer, framing, _content(path, image, missing))
    except ImageError as fault:
        error = str(fault)
    except ToolUnavailableError:  # expired keys, a network failure: not a fault of this image
        raise
    except FileNotFoundError:
        error = "cannot be read: No such file or directory"
    except OSError as fault:
        error = f"cannot be read: {fault.strerror}"
    except Exception as fault:  # OpenCV and onnxruntime raise their own types; one image must not end a run of millions
        error = f"{type(fault).__name__}: {fault}"
    name = f"row {row}" if picture is None else picture
    return [{"row": row, **values} for values in picture_rows(faces, recognizer.info, file=name, size=size, error=error)]


@lru_cache(maxsize=1)
def _recognizer(model: PortableModel, threshold: float) -> Recognizer:
    cv2.setNumThreads(1)  # Spark runs one such process per core
    return model.recognizer(threshold)


def _content(path: bytes | None, image: bytes | None, missing: str | None) -> bytes:
    if missing is not None:
        raise ImageError(missing)
    if path is None:
        if image is None:
            raise ImageError("the row holds no picture")
        return image
    content = storage_location(os.fsdecode(path)).read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ImageError(f"file of more than {MAX_FILE_BYTES:,} bytes is not read")
    return content


def _faces(recognizer: Recognizer, framing: Framing, content: bytes) -> tuple[list[FaceEmotion], tuple[int, int]]:
    """Return the faces of an image, and its width and height."""
    if framing == "prepared":
        if len(content) != FACE_SIZE * FACE_SIZE:
            raise ImageError(f"face of {len(content):,} bytes, expected {FACE_SIZE} * {FACE_SIZE} gray values")
        face = recognizer.recognize_prepared(np.frombuffer(content, np.uint8).reshape(FACE_SIZE, FACE_SIZE, 1))
        return [face], (FACE_SIZE, FACE_SIZE)
    image = imaging.decode(content)
    faces = recognizer.recognize(image) if framing == "detect" else [recognizer.recognize_face(image)]
    return faces, (image.shape[1], image.shape[0])
