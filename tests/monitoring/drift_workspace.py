"""A processed table, a prediction log and the results of a drift check."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.imaging import ImageSpec
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.quality import measure
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.monitoring import log_files
from fer_pipeline.monitoring.observations import LoggedFace
from fer_pipeline.schemas import PROCESSED

ROOT = Path(__file__).parents[2]
ROWS = 320
TRAINED = [f"{number:032x}" for number in range(1, 11)]
"""Content hashes of the training rows."""


def faces(rows: int, seed: int) -> npt.NDArray[np.uint8]:
    """Noise uint8 (rows, 48, 48) of any brightness."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(50, 200, (rows, 1, 1))
    return np.clip(levels + rng.normal(0, rng.uniform(10, 40, (rows, 1, 1)), (rows, 48, 48)), 0, 255).astype(np.uint8)


def write_processed(folder: Path, *, synthetic: bool = False, source: str = "nothing") -> None:
    """The table of the source that the brightness model names, unless told otherwise; first the validation rows."""
    (folder / "faces").mkdir(parents=True)
    rows = ROWS + len(TRAINED)
    known: dict[str, Any] = {
        "id": [f"{row:08d}" for row in range(rows)],
        "row": range(rows),
        "name": ["toy"] * rows,
        "split": ["validation"] * ROWS + ["train"] * len(TRAINED),
        "label": [0] * rows,
        "image": [face.tobytes() for face in (*faces(ROWS, 0), *faces(len(TRAINED), 9))],
        "content_hash": ["0"] * ROWS + TRAINED,
        "perceptual_hash": ["0"] * rows,
        "copies": [1] * rows,
        "in_train": [row < 10 for row in range(rows)],
    }
    zeros = {"copy_rank", "brightness", "contrast"}
    columns = {
        field.name: known.get(field.name, [None if field.nullable else 0 if field.name in zeros else False] * rows)
        for field in PROCESSED
    }
    pq.write_table(pa.table(columns, schema=PROCESSED), folder / "faces" / "part.parquet")
    metadata = {"image_spec": ImageSpec().table_values(), "source": {"name": source, "synthetic": synthetic}}
    (folder / "facts.json").write_text(json.dumps(metadata))


def log_predictions(folder: Path, model: Path, pictures: npt.NDArray[np.uint8], when: datetime | None = None) -> None:
    """What the service would have logged for these faces."""
    info = ModelInfo.read(model)
    rows = []
    for face, row in zip(pictures, EmotionClassifier.load(model).probabilities(pictures[..., None]), strict=True):
        quality, best = measure(face), EMOTIONS[int(row.argmax())]
        values = (quality.size, quality.sharpness, quality.brightness, quality.contrast)
        rows.append(LoggedFace(when or datetime.now(UTC), info.network, info.fingerprint, tuple(row), best, False, *values))
    log_files.write(folder, rows)


def result_of(workspace: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((workspace / "data" / "reports" / "drift" / "drift.json").read_text())
    return values
