"""Histograms of oriented gradients (Dalal and Triggs 2005) of faces: the features of the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fer_pipeline.imaging import FACE_SIZE, UInt8Array

CELL, BINS = 8, 9

FEATURES: Final = (FACE_SIZE // CELL - 1) ** 2 * 4 * BINS
"""900: for each of 5x5 overlapping blocks of 2x2 cells of 8x8 pixels, 9 directions."""

LABELLED: Final = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("features", pa.list_(pa.float32()), nullable=False),
    ]
)
"""What `hog_batches` gives per row of the processed table."""


def hog(images: UInt8Array) -> npt.NDArray[np.float32]:
    """float32 (N, `FEATURES`) in 0..1 of gray faces uint8 (N, 48, 48) or (N, 48, 48, 1)."""
    side, block, cell = (FACE_SIZE, FACE_SIZE), (2 * CELL, 2 * CELL), (CELL, CELL)
    descriptor = cv2.HOGDescriptor(side, block, cell, cell, BINS)
    found = np.zeros((len(images), FEATURES), np.float32)
    for row, image in zip(found, images.reshape(-1, FACE_SIZE, FACE_SIZE), strict=True):
        row[:] = np.asarray(descriptor.compute(image)).ravel()
    return found


def hog_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of `LABELLED` of batches with the columns split, label and image of the processed table."""
    for batch in batches:
        images = np.frombuffer(b"".join(batch.column("image").to_pylist()), np.uint8).reshape(-1, FACE_SIZE, FACE_SIZE)
        features = pa.array(hog(images).tolist(), LABELLED.field("features").type)
        columns = [batch.column("split"), batch.column("label").cast(pa.float64()), features]
        yield pa.RecordBatch.from_arrays(columns, schema=LABELLED)
