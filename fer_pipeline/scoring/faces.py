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
from fer_pipeline.errors import ImageError, ToolUnavailableError
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.face_table import face_rows
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.scoring.storage import storage_location

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
        pa.field("image", pa.binary()),  # the bytes themselves; the other is null
    ]
)

SCORES: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("picture", pa.string(), nullable=False),  # as given; "row 7" where the row has no id
        pa.field("faces", pa.int32()),  # found in this picture; null where it could not be read
        pa.field("face", pa.int32()),  # number from 1, the largest first; null where there is none, as in all that follows
        *(pa.field(name, pa.float64()) for name in ("x", "y", "width", "height")),  # pixels; null where the picture is the face
        pa.field("detection_score", pa.float64()),
        pa.field("rotation", pa.int32()),  # counterclockwise degrees by which the image was rotated to find it
        pa.field("emotion", pa.string()),  # the most probable label, or "uncertain"
        pa.field("top_emotion", pa.string()),
        pa.field("confidence", pa.float64()),
        *(pa.field(name, pa.float64()) for name in EMOTIONS),  # calibrated probabilities
        *(pa.field(name, pa.float64()) for name in ("size", "sharpness", "brightness", "outside")),
        pa.field("reasons", pa.string()),  # what makes the result doubtful, separated by spaces
        pa.field("network", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),  # of the model, `ModelInfo.fingerprint`
        pa.field("error", pa.string()),  # why the image could not be read
    ]
)
"""One row per face; one row for an image without face, or that cannot be read."""


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
    recognizer: Recognizer, framing: Framing, row: int, picture: str | None, path: bytes | None, image: bytes | None
) -> list[dict[str, Any]]:
    """Score one image; return its rows as values of `SCORES`.

    Raises `ToolUnavailableError` where an object store fails.
    """
    info = recognizer.info
    name = f"row {row}" if picture is None else picture
    common = {"row": row, "picture": name, "network": info.network, "fingerprint": info.fingerprint}
    try:
        faces = _faces(recognizer, framing, _content(path, image))
    except ImageError as error:
        return [{**common, "error": str(error)}]
    except ToolUnavailableError:  # expired keys, a network failure: not a fault of this image
        raise
    except FileNotFoundError:
        return [{**common, "error": "cannot be read: No such file or directory"}]
    except OSError as error:
        return [{**common, "error": f"cannot be read: {error.strerror}"}]
    except Exception as error:  # OpenCV and onnxruntime raise their own types; one image must not end a run of millions
        return [{**common, "error": f"{type(error).__name__}: {error}"}]
    if not faces:
        return [{**common, "faces": 0}]
    return face_rows(faces, **common, faces=len(faces))


@lru_cache(maxsize=1)
def _recognizer(model: PortableModel, threshold: float) -> Recognizer:
    cv2.setNumThreads(1)  # Spark runs one such process per core
    return model.recognizer(threshold)


def _content(path: bytes | None, image: bytes | None) -> bytes:
    if path is None:
        if image is None:
            raise ImageError("the row holds no picture")
        return image
    content = storage_location(os.fsdecode(path)).read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ImageError(f"file of more than {MAX_FILE_BYTES:,} bytes is not read")
    return content


def _faces(recognizer: Recognizer, framing: Framing, content: bytes) -> list[FaceEmotion]:
    if framing == "prepared":
        if len(content) != FACE_SIZE * FACE_SIZE:
            raise ImageError(f"face of {len(content):,} bytes, expected {FACE_SIZE} * {FACE_SIZE} gray values")
        return [recognizer.recognize_prepared(np.frombuffer(content, np.uint8).reshape(FACE_SIZE, FACE_SIZE, 1))]
    image = imaging.decode(content)
    return recognizer.recognize(image) if framing == "detect" else [recognizer.recognize_face(image)]
