"""Run one job that `benchmarks.scale` times.

`python -m benchmarks.scale_jobs JOB MASTER SOURCE OUT`, each in a process of its own.

MASTER is a Spark master, or `loop` for a plain loop in one process with NumPy and OpenCV that does the same per picture: what a
person would write first, and what Spark must be compared with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline import imaging
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.pretrained import DEFAULT_MODEL, pretrained_folder
from fer_pipeline.schemas import USAGE_SPLITS
from fer_pipeline.scoring import score

GROUP = 1024


def spark_preprocess(master: str, raw: Path, out: Path) -> None:
    """The stage preprocess, with training copies left out."""
    preprocess(raw, out / "processed", out / "quarantine", PreprocessParams(spark_master=master, drop_duplicates=True))


def loop_preprocess(raw: Path, out: Path) -> None:
    """Parse, hash and measure each picture; write all but training copies."""
    seen: set[str] = set()

    def rows() -> Iterator[dict[str, object]]:
        for batch in pq.ParquetFile(raw / "faces.parquet").iter_batches(GROUP, columns=["row", "emotion", "usage", "pixels"]):
            for row in batch.to_pylist():
                gray = np.fromstring(row["pixels"], dtype=np.int64, sep=" ").astype(np.uint8).reshape(48, 48)
                content, split = imaging.content_hash(gray), USAGE_SPLITS[row["usage"]]
                if split == "train" and content in seen:
                    continue
                if split == "train":
                    seen.add(content)
                measured = {"brightness": float(gray.mean()), "contrast": float(gray.std())}
                hashes = {"content_hash": content, "perceptual_hash": imaging.perceptual_hash(gray)}
                facts = {"row": row["row"], "split": split, "label": int(row["emotion"])}
                yield {**facts, **hashes, **measured, "image": gray.tobytes()}

    _write(rows(), out / "faces.parquet")


def spark_score(master: str, processed: Path, out: Path) -> None:
    """`fer score` of the shipped model on a processed table."""
    score.score(processed, out / "scores", PortableModel.read(pretrained_folder(DEFAULT_MODEL)), master=master)


def loop_score(processed: Path, out: Path) -> None:
    """The same model on each face, and its answers."""
    recognizer = PortableModel.read(pretrained_folder(DEFAULT_MODEL)).recognizer()

    def rows() -> Iterator[dict[str, object]]:
        for file in sorted((processed / "faces").glob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(GROUP, columns=["id", "image"]):
                for row in batch.to_pylist():
                    face = recognizer.recognize_prepared(np.frombuffer(row["image"], np.uint8).reshape(48, 48, 1))
                    yield {"picture": row["id"], "emotion": face.emotion, **face.as_dict()["probabilities"]}

    _write(rows(), out / "scores.parquet")


def _write(rows: Iterator[dict[str, object]], target: Path) -> None:
    writer, group = None, []
    for row in rows:
        group.append(row)
        if len(group) == GROUP:
            table = pa.Table.from_pylist(group)
            writer = writer or pq.ParquetWriter(target, table.schema)
            writer.write_table(table)
            group = []
    if group:
        table = pa.Table.from_pylist(group)
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


if __name__ == "__main__":
    job, place, source, target = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    if place == "loop":
        {"preprocess": loop_preprocess, "score": loop_score}[job](source, target)
    else:
        {"preprocess": spark_preprocess, "score": spark_score}[job](place, source, target)
