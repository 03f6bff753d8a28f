"""Small answer-known faces: stripes whose direction is the label."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline.data.table.reader import FaceDataset
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.schemas import PROCESSED


def striped(rows: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pictures uint8 (rows, 48, 48, 1) and labels (rows,): all classes equally often, the stripes turn with the label."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % 7).astype(np.int64)
    y, x = np.mgrid[:48, :48]
    turns = (np.pi * labels / 7)[:, None, None]
    waves = np.sin((x * np.cos(turns) + y * np.sin(turns)) / 3 + rng.uniform(0, 6, (rows, 1, 1)))
    gray = 120 + 60 * waves + rng.normal(0, 30, (rows, 48, 48))
    return np.clip(gray, 0, 255).astype(np.uint8)[..., None], labels


def stripes(rows: int, seed: int) -> FaceDataset:
    images, labels = striped(rows, seed)
    ids = np.array([f"{row:08d}" for row in range(rows)])
    return FaceDataset(images, labels, ids, ids, np.zeros(rows, np.int32), np.zeros(rows, np.bool_))


def write_processed(folder: Path, rows_of: dict[str, int], *, synthetic: bool = True) -> Path:
    """A processed table of striped pictures; the first two test rows count as copies of training rows."""
    (folder / "faces").mkdir(parents=True)
    start = 0
    for number, (split, rows) in enumerate(rows_of.items()):
        images, labels = striped(rows, seed=number)
        labels[::8] = (labels[::8] + 1) % 7  # wrong labels, so that no model is perfect
        copies = [split == "train" or (split == "test" and row < 2) for row in range(rows)]
        columns = {
            "id": [f"{start + row:08d}" for row in range(rows)],
            "row": list(range(start, start + rows)),
            "name": [f"toy:{start + row}" for row in range(rows)],
            "usage": [None] * rows,
            "split": [split] * rows,
            "label": labels.tolist(),
            "image": [image.tobytes() for image in images],
            "content_hash": [f"{start + row:032x}" for row in range(rows)],
            "perceptual_hash": ["0" * 16] * rows,
            "copies": [1] * rows,
            "copy_rank": [0] * rows,
            "in_train": copies,
            "near_in_train": copies,
            "conflicting": [False] * rows,
            "brightness": [120.0] * rows,
            "contrast": [40.0] * rows,
            "flat": [False] * rows,
            "low_contrast": [False] * rows,
            "augmented": [False] * rows,
            "votes": [None] * rows,
        }
        pq.write_table(pa.table(columns, schema=PROCESSED), folder / "faces" / f"part-{number}.parquet")
        start += rows
    facts = {"image_spec": asdict(ImageSpec()), "source": {"synthetic": synthetic, "name": "stripes"}}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make_stripes() -> Callable[[int, int], FaceDataset]:
    """(rows, seed) -> FaceDataset."""
    return stripes


@pytest.fixture(scope="session")
def make_processed() -> Callable[..., Path]:
    """(folder, {split: rows}, synthetic=) -> the folder, with a processed table in it."""
    return write_processed
