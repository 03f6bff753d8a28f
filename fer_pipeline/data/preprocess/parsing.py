"""Parse raw rows into faces, or into the reason why a row is none.

A face is gray uint8 (48, 48). Each raw row gives exactly one parsed row, usable or not.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fer_pipeline import imaging, schemas
from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import FERPLUS_COLUMNS, emotion_index

PARSED: Final = pa.schema(
    [
        *(schemas.RAW.field(name) for name in ("row", "name", "emotion", "usage")),
        pa.field("split", pa.string()),  # what the usage word says; null where the source has none
        pa.field("label", pa.int8()),
        pa.field("image", pa.binary()),  # before denoising and contrast
        pa.field("content_hash", pa.string()),
        pa.field("perceptual_hash", pa.string()),
        pa.field("flat", pa.bool_()),
        pa.field("votes", schemas.VOTES),
        pa.field("reason", pa.string()),  # null for a good row; else the columns above are null as far as they were not reached
        pa.field("detail", pa.string()),
    ]
)
"""One row per raw row: a face, or `reason` and `detail`."""

SPLIT_OF_USAGE: Final = {
    **{word.replace("_", ""): split for split, words in schemas.SPLIT_WORDS.items() for word in words},
    schemas.FEEDBACK_USAGE.lower(): "train",
}
"""Split of each known usage word: lower case, without blanks, "_" and "-"."""

PIXELS: Final = FACE_SIZE * FACE_SIZE


class RowFault(Exception):
    """A row cannot be used.

    `reason` is a short code; the message names the value found and the one expected.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def parse_row(row: dict[str, Any], has_splits: bool) -> dict[str, Any]:
    """Return the values of `PARSED` for one raw row.

    Of several faults, the first found is the reason.
    """
    parsed = {name: row[name] for name in ("row", "name", "emotion", "usage")}
    try:
        parsed["split"] = split_of(row["usage"], has_splits)
        parsed["label"] = _label(row["emotion"])
        parsed["votes"] = _votes(row["votes"])
        gray = _face(row["pixels"], row["image"])
    except RowFault as fault:
        return {**parsed, "votes": None, "reason": fault.reason, "detail": str(fault)}
    parsed["image"] = gray.tobytes()
    parsed["content_hash"] = imaging.content_hash(gray)
    parsed["perceptual_hash"] = imaging.perceptual_hash(gray)
    parsed["flat"] = bool((gray == gray[0, 0]).all())
    return parsed


def split_of(usage: str | None, has_splits: bool) -> str | None:
    """Return the split of a usage word, in any case: "PublicTest", "public_test".

    None for no word in a source without splits. Raises `RowFault` for an unknown word.
    """
    word = re.sub(r"[\s_-]+", "", (usage or "").lower())
    if not word and not has_splits:
        return None
    if word not in SPLIT_OF_USAGE:
        raise RowFault("usage", f"usage {usage!r}, expected {', '.join((*schemas.USAGE_SPLITS, *schemas.SPLITS))}")
    return SPLIT_OF_USAGE[word]


def parse_pixels(text: str) -> UInt8Array:
    """Parse 2,304 whole numbers in 0..255, with blanks between, to uint8 (48, 48).

    Raises `RowFault`.
    """
    # One C pass each: is there anything but digits and blanks, and the numbers. Splitting in Python takes five times as long.
    if text.encode().translate(None, b"0123456789 \t\r\n"):
        raise _odd_token(text)
    values = np.fromstring(text, dtype=np.int64, sep=" ")
    if values.size != PIXELS:
        raise RowFault("pixel-count", f"{values.size:,} pixels, expected {PIXELS:,}")
    if values.max() > 255:
        raise _out_of_range(str(values.max()), int(values.argmax()))
    return values.astype(np.uint8).reshape(FACE_SIZE, FACE_SIZE)


def _odd_token(text: str) -> RowFault:
    for position, token in enumerate(text.split()):
        if token.startswith("-") and token[1:].isdecimal():
            return _out_of_range(token, position)
        if not (token.isdecimal() and token.isascii()):
            return RowFault("pixel-syntax", f"pixel {position} is {token[:20]!r}, expected a whole number")
    return RowFault("pixel-syntax", "pixels are separated by unusual characters, expected blanks")


def _out_of_range(value: str, position: int) -> RowFault:
    return RowFault("pixel-range", f"pixel {position} is {value[:20]}, expected 0..255")


def _label(emotion: str | None) -> int:
    if emotion is None or not emotion.strip():
        raise RowFault("label", "the row has no label, expected 0-6 or an emotion's name")
    try:
        return emotion_index(emotion)
    except ValueError as error:
        raise RowFault("label", str(error)) from error


def _votes(votes: list[int | None] | None) -> list[int] | None:
    if votes is None:
        return None
    counts = [vote for vote in votes if vote is not None and vote >= 0]
    if len(counts) != len(votes) or len(votes) != len(FERPLUS_COLUMNS):
        raise RowFault("votes", f"FER+ votes {votes}, expected {len(FERPLUS_COLUMNS)} counts of 0 or more")
    return counts


def _face(pixels: str | None, image: bytes | None) -> UInt8Array:
    if pixels is not None:
        return parse_pixels(pixels)
    if image is None:
        raise RowFault("no-image", "the row has neither pixels nor a picture")
    try:
        return imaging.resize_face(imaging.to_gray(imaging.decode(image)))
    except ImageError as error:
        raise RowFault("image", str(error)) from error
