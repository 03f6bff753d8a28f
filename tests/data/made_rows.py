"""Raw tables of made-up rows, and what preprocess makes of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline import schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.metadata import PreprocessMetadata
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.imaging import UInt8Array

Row = dict[str, Any]
MASTER = "local[2]"


def params(**values: Any) -> PreprocessParams:
    return PreprocessParams(spark_master=MASTER, **values)


def face(seed: int) -> UInt8Array:
    """A picture of its own, 48x48, with its own perceptual hash."""
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def pixels(picture: UInt8Array) -> str:
    return " ".join(map(str, picture.ravel()))


def row(picture: UInt8Array | None, emotion: str | None, usage: str | None, **others: Any) -> Row:
    text = None if picture is None else pixels(picture)
    return {"emotion": emotion, "usage": usage, "pixels": text, "image": None, "votes": None, **others}


def write_raw(folder: Path, rows: list[Row], group: int = 1000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    named = [{"row": number, "name": f"made.csv:{number + 2}", **row} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(named, schema=schemas.RAW), folder / "faces.parquet", row_group_size=group)
    source = {"kind": "made", "name": "made.csv", "synthetic": True, "rows": len(rows)}
    (folder / "source.json").write_text(json.dumps(source))
    return folder


def run(folder: Path, rows: list[Row], **values: Any) -> PreprocessMetadata:
    return preprocess(write_raw(folder / "raw", rows), folder / "out", folder / "bad", params(**values))


def read(folder: Path) -> dict[str, Row]:
    """Processed rows by id."""
    return {found["id"]: found for found in pq.read_table(folder / "out" / "faces").to_pylist()}


def left_out(folder: Path) -> list[tuple[int, str]]:
    return [(found["row"], found["reason"]) for found in pq.read_table(folder / "bad" / "rows.parquet").to_pylist()]


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("out", "bad")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


def unsplit(usage: str | None = None, each: int = 20) -> list[Row]:
    """`each` rows of the first three emotions, every picture twice."""
    return [row(face(number // 2), str(number // each), usage) for number in range(3 * each)]
