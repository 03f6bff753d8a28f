"""One picture gives byte-equal model input on every path: the image path itself, Spark, the training loader, the service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fer_pipeline import schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.imaging import ImageSpec, UInt8Array, decode, encode_png, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.model_info import ModelInfo


def pictures() -> dict[str, UInt8Array]:
    """Pictures of the shapes that sources bring."""
    generator = np.random.default_rng(0)
    sizes = {"gray 48x48": (48, 48), "gray 100x90": (100, 90), "colour 64x64": (64, 64, 3), "colour 30x20": (30, 20, 3)}
    return {name: generator.integers(0, 256, size, dtype=np.uint8) for name, size in sizes.items()}


def raw_table(folder: Path, encoded: list[bytes], pixels: str) -> Path:
    """A raw table with the encoded pictures and a row of pixels in training, and one picture in validation and in test."""
    folder.mkdir()
    rows = [
        {
            "row": row,
            "name": f"p{row}",
            "emotion": str(row % 7),
            "usage": "Training",
            "pixels": None,
            "image": data,
            "votes": None,
        }
        for row, data in enumerate(encoded)
    ]
    rows.append({**rows[0], "row": len(rows), "name": "csv", "image": None, "pixels": pixels})
    for usage in ("PublicTest", "PrivateTest"):
        rows.append({**rows[0], "row": len(rows), "name": usage, "usage": usage})
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.RAW), folder / "faces.parquet")
    (folder / "source.json").write_text(json.dumps({"kind": "test", "name": "test", "rows": len(rows), "synthetic": False}))
    return folder


def model_with(spec: ImageSpec, model: Path, folder: Path) -> Path:
    """A copy of an exported model with another image spec."""
    shutil.copytree(model, folder)
    replace(ModelInfo.read(model), image_spec=spec).write(folder)
    return folder


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with spark_session("local[1]") as session:
        yield session


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize(("denoise", "contrast"), [("none", "none"), ("median", "clahe")])
def test_numpy_spark_loader_and_service_agree_byte_by_byte(
    tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch, denoise: str, contrast: str
) -> None:
    params = PreprocessParams.model_validate({"denoise": denoise, "contrast": contrast, "spark_master": "local[1]"})
    encoded = [encode_png(picture) for picture in pictures().values()]
    gray = pictures()["gray 48x48"]
    raw = raw_table(tmp_path / "raw", encoded, " ".join(map(str, gray.ravel())))
    preprocess(raw, tmp_path / "processed", tmp_path / "quarantine", params)

    by_numpy = np.stack([to_model_input(decode(data), params.image_spec) for data in encoded])
    by_loader = ProcessedTable.open(tmp_path / "processed").split("train").images
    assert by_loader[:-1].tobytes() == by_numpy.tobytes()
    assert by_loader[-1].tobytes() == by_numpy[0].tobytes()  # pixels in a CSV and the same picture as a file

    recognizer = Recognizer.load(model_with(params.image_spec, brightness_model, tmp_path / "model"))
    seen: list[UInt8Array] = []
    answer = EmotionClassifier.probabilities

    def watched(self: EmotionClassifier, inputs: UInt8Array) -> Any:
        seen.append(inputs)
        return answer(self, inputs)

    monkeypatch.setattr(EmotionClassifier, "probabilities", watched)
    for data in encoded:
        recognizer.recognize_face(decode(data))
    assert np.concatenate(seen).tobytes() == by_numpy.tobytes()


def test_a_48x48_gray_picture_stays_as_it_is() -> None:
    """The default image path changes no pixel of it."""
    gray = pictures()["gray 48x48"]
    assert to_model_input(gray, PreprocessParams().image_spec).tobytes() == gray.tobytes()
