"""Multinomial logistic regression on HOG features, by Spark MLlib."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession, functions as sf
from pyspark.sql.pandas.types import from_arrow_schema

from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.table.files import FILES_FILE
from fer_pipeline.errors import DataQualityError, SourceError, ToolUnavailableError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.models.baseline.hog import LABELLED, hog_batches

REGULARISATIONS = (0.001, 0.01, 0.1)
"""L2 penalties that are tried, on standardised features."""

_ITERATIONS = 60


@dataclass(frozen=True)
class HogLogistic:
    """A fitted model: `weights` float64 (7, `FEATURES`), `intercepts` (7,).

    `tried` holds the validation accuracy of each penalty.
    """

    weights: npt.NDArray[np.float64]
    intercepts: npt.NDArray[np.float64]
    regularisation: float
    tried: dict[float, float]


def fit_hog_logistic(processed: Path, master: str) -> HogLogistic:
    """Fit on the split train, with the penalty of the highest validation accuracy.

    Raises `SourceError` where the table is missing, `DataQualityError` where a split is empty or train lacks a class,
    `ToolUnavailableError` where Spark fails.
    """
    folder = processed / "faces"
    if (processed / FILES_FILE).exists():
        raise SourceError(
            f"{processed} lists a table in a store, which `fer baseline` does not read: set preprocess.output to workspace"
        )
    if not folder.is_dir():
        raise SourceError(f"{folder} is missing: run `fer preprocess` first")
    with spark_session(master, driver_memory="2g", app_name="fer baseline") as session:
        try:
            return _fit(session, folder)
        except (PySparkException, Py4JError) as error:
            raise ToolUnavailableError(f"Spark MLlib failed on {folder}: {str(error).strip().splitlines()[0][:500]}") from error


def _fit(session: SparkSession, folder: Path) -> HogLogistic:
    rows = session.read.parquet(str(folder.resolve())).select("split", "label", "image")
    featured = rows.filter("split in ('train', 'validation')").mapInArrow(hog_batches, from_arrow_schema(LABELLED))
    vectors = featured.withColumn("features", array_to_vector(sf.col("features"))).cache()
    train, validation = (vectors.filter(sf.col("split") == split) for split in ("train", "validation"))
    classes = {int(row["label"]) for row in train.select("label").distinct().collect()}
    if classes != set(range(len(EMOTIONS))) or not validation.head(1):
        missing = [EMOTIONS[index] for index in range(len(EMOTIONS)) if index not in classes] or "no class"
        raise DataQualityError(f"train lacks {missing}, or validation is empty: check the source")
    fitted: dict[float, LogisticRegressionModel] = {}
    tried: dict[float, float] = {}
    for penalty in REGULARISATIONS:
        regression = LogisticRegression(regParam=penalty, maxIter=_ITERATIONS, family="multinomial")
        fitted[penalty] = regression.fit(train)
        tried[penalty] = _accuracy(fitted[penalty].transform(validation))
    vectors.unpersist()
    best = max(tried, key=lambda penalty: tried[penalty])
    return HogLogistic(
        weights=np.asarray(fitted[best].coefficientMatrix.toArray()),
        intercepts=np.asarray(fitted[best].interceptVector.toArray()),
        regularisation=best,
        tried=tried,
    )


def _accuracy(answered: DataFrame) -> float:
    right = sf.avg((sf.col("prediction") == sf.col("label")).cast("double")).alias("accuracy")
    (row,) = answered.select(right).collect()
    return float(row["accuracy"])
