"""A Spark session per module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from fer_pipeline.data.spark.session import spark_session
from tests.data.made_rows import MASTER


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """A session that all `preprocess` of a module work in: each start takes seconds."""

    with spark_session(MASTER) as session:
        yield session
