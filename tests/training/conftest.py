"""Data that the tests of training share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fer_pipeline.data.table.dataset import FaceDataset


@pytest.fixture(scope="module")
def data(make_stripes: Callable[[int, int], FaceDataset]) -> tuple[FaceDataset, FaceDataset]:
    """Striped images for training and for validation."""
    return make_stripes(140, 0), make_stripes(49, 1)
