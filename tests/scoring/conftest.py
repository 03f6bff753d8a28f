"""Images and tables to score."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.imaging import ImageSpec, UInt8Array, encode_png
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.schemas import PROCESSED
from fer_pipeline.workspace.files import write_json

WHERE = "local[2]"


@pytest.fixture(scope="module")
def spark() -> Iterator[None]:
    """One session for the tests that run on `WHERE`."""
    with spark_session(WHERE):
        yield


@pytest.fixture(scope="module")
def model(brightness_model: Path) -> PortableModel:
    return PortableModel.read(brightness_model)


@pytest.fixture
def pictures(tmp_path: Path, drawn_face: UInt8Array) -> Path:
    """Two with a face, one without, and six that cannot be read; hidden files and texts beside them."""
    folder = tmp_path / "pictures"
    (folder / "b" / "deep [1]").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.png").write_bytes(encode_png(drawn_face))
    (folder / "b" / "deep [1]" / "é *.PNG").write_bytes(encode_png(drawn_face[:, ::-1]))
    (folder / "b" / "nobody.jpg").write_bytes(jpeg(np.full((90, 120, 3), 125, np.uint8)))
    (folder / "b" / "cut.jpg").write_bytes(jpeg(drawn_face)[:900])
    (folder / "b" / "empty.png").touch()
    (folder / "b" / "text.png").write_text("no picture")
    (folder / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    (folder / "b" / "folder.jpg").mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/b/latin-\xe9.png")).write_bytes(encode_png(drawn_face)[:100])
    (folder / "b" / "bomb.png").write_bytes(bomb())
    (folder / ".hidden" / "a.png").write_bytes(encode_png(drawn_face))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def jpeg(image: UInt8Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (9_000, 6_000)).save(buffer, "PNG")
    return buffer.getvalue()


def table_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "faces").to_pylist()
    return rows


def processed_table(folder: Path, count: int, spec: ImageSpec | None = None) -> UInt8Array:
    """Writes `count` rows like those of preprocess in two files; returns their pictures (N, 48, 48)."""
    images = np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8)
    values = {"split": "test", "label": 3, "content_hash": "h", "perceptual_hash": "p", "copies": 1, "copy_rank": 0}
    flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
    rows = [
        {
            **values,
            **flags,
            "id": f"{n:08d}",
            "row": n,
            "name": f"x:{n}",
            "image": image.tobytes(),
            "brightness": 1,
            "contrast": 1,
        }
        for n, image in enumerate(images)
    ]
    (folder / "faces").mkdir(parents=True)
    for number, part in enumerate((rows[: count // 2], rows[count // 2 :])):
        pq.write_table(
            pa.Table.from_pylist(part, schema=PROCESSED), folder / "faces" / f"part-{number:05d}.parquet", row_group_size=8
        )
    write_json(folder / "facts.json", {"source": {"name": "x"}, "image_spec": (spec or ImageSpec()).table_values()})
    return images


def tables_of(out: Path) -> dict[str, pa.Table]:
    return {path.name: pq.ParquetFile(path).read() for path in (out / "faces").rglob("*.parquet")}
