"""Balance classes by augmented copies, and finish the images of all rows.

`plan_variants` counts the copies in Spark; `finisher` denoises, enhances contrast and adds the copies on Arrow batches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, functions as sf

from fer_pipeline import imaging, schemas
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.ranking import bucket_of, rank_in_group
from fer_pipeline.imaging import FACE_SIZE, UInt8Array


def plan_variants(rows: DataFrame, params: PreprocessParams) -> DataFrame:
    """Add `variants`: the number of augmented copies that class balancing needs.

    Rows with a flat image get none.
    """
    if not params.oversample_to:
        return rows.withColumn("variants", sf.lit(0))
    usable = (sf.col("split") == "train") & ~sf.col("flat")
    classes = (
        rows.filter(sf.col("split") == "train")
        .groupBy("label")
        .agg(sf.count("*").alias("n"), sf.sum(usable.cast("int")).alias("m"))
    )
    sizes = {row["label"]: (row["n"], row["m"]) for row in classes.collect()}
    target = math.ceil(params.oversample_to * max(n for n, _ in sizes.values()))
    keyed = (
        rows.withColumn("group", sf.col("label") * 2 + usable.cast("int"))
        .withColumn("key", sf.sha2(sf.concat(sf.lit(f"{params.seed}-variant-"), sf.col("row").cast("string")), 256))
        .withColumn("bucket", bucket_of(sf.col("key")))
        .withColumn("size", sf.lit(1))
    )
    placed = rank_in_group(keyed, "group", "bucket", ["key", "row"], "size")
    variants = sf.lit(0)
    for label, (n, m) in sizes.items():
        each, more = divmod(max(target - n, 0), m) if m else (0, 0)
        number = each + (sf.col("position") <= more).cast("int")
        variants = sf.when(usable & (sf.col("label") == label), number).otherwise(variants)
    return placed.withColumn("variants", variants).drop("group", "key", "bucket", "size", "position", "before", "last")


def finisher(params: PreprocessParams) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return a function from planned rows to `schemas.PROCESSED`, both in batches.

    A planned row has the image before denoising and contrast, and `variants`, the number of augmented copies that follow it.
    """

    def finish(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if any(batch["variants"].to_pylist()):
                rows = [finished for row in batch.to_pylist() for finished in finish_row(row, params)]
                yield pa.RecordBatch.from_pylist(rows, schema=schemas.PROCESSED)
            elif batch.num_rows:
                yield _finished(batch, params)

    return finish


def _finished(batch: pa.RecordBatch, params: PreprocessParams) -> pa.RecordBatch:
    """Finish rows without variants, column by column."""
    gray = np.frombuffer(b"".join(batch["image"].to_pylist()), dtype=np.uint8).reshape(-1, FACE_SIZE, FACE_SIZE)
    own = {**_image_columns(gray, params), "id": [f"{row:08d}" for row in batch["row"].to_pylist()]}
    own["augmented"] = [False] * len(gray)
    columns = [
        pa.array(own[field.name], field.type) if field.name in own else batch[field.name].cast(field.type)
        for field in schemas.PROCESSED
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schemas.PROCESSED)


def finish_row(row: dict[str, Any], params: PreprocessParams) -> Iterator[dict[str, Any]]:
    """Yield the values of `schemas.PROCESSED` of a row, then of its augmented copies."""
    row_id = f"{row['row']:08d}"
    gray = np.frombuffer(row["image"], dtype=np.uint8).reshape(FACE_SIZE, FACE_SIZE)
    common = {name: row[name] for name in schemas.PROCESSED.names if name in row}
    yield {**common, **_of_one(gray, params), "id": row_id, "augmented": False}
    for number in range(1, row["variants"] + 1):
        variant_id = f"{row_id}-a{number}"
        changed = _vary(gray, f"{params.seed}-{variant_id}")
        own = {"content_hash": imaging.content_hash(changed), "perceptual_hash": imaging.perceptual_hash(changed)}
        alone = {"copies": 1, "copy_rank": 0, "conflicting": False, "in_train": True, "near_in_train": True}
        yield {**common, **_of_one(changed, params), **own, **alone, "id": variant_id, "augmented": True}


def _of_one(gray: UInt8Array, params: PreprocessParams) -> dict[str, Any]:
    return {name: values[0] for name, values in _image_columns(gray[np.newaxis], params).items()}


def _image_columns(gray: UInt8Array, params: PreprocessParams) -> dict[str, list[Any]]:
    """Measure images uint8 (N, 48, 48) and make model inputs of them.

    Mean and variance are of sums of whole numbers, which have no rounding.
    """
    pixels = gray.reshape(len(gray), -1).astype(np.int64)
    count = pixels.shape[1]
    total, squares = pixels.sum(axis=1), np.einsum("ij,ij->i", pixels, pixels)
    contrast = np.sqrt(count * squares - total * total) / count
    spec = params.image_spec
    return {
        "image": [imaging.enhance(image, spec).tobytes() for image in gray],
        "brightness": (total / count).tolist(),
        "contrast": contrast.tolist(),
        "flat": (contrast == 0).tolist(),
        "low_contrast": (contrast < params.low_contrast_below).tolist(),
    }


def _vary(gray: UInt8Array, key: str) -> UInt8Array:
    random = np.random.default_rng(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()))
    return imaging.augment(
        gray,
        mirror=bool(random.random() < 0.5),
        degrees=float(random.uniform(-12, 12)),
        shift_xy=(float(random.uniform(-3, 3)), float(random.uniform(-3, 3))),
        gain=float(random.uniform(0.85, 1.15)),
    )
