from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.soft_labels import with_soft_labels, write_soft_labels
from fer_pipeline.errors import ParamsError, SourceError
from fer_pipeline.training.batches import Batches


@pytest.fixture
def faces(make_stripes: Callable[..., FaceDataset]) -> FaceDataset:
    return make_stripes(14, 0)


@pytest.fixture
def probabilities() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(7), 14)


def test_soft_labels_come_back_as_they_were_stored(faces: FaceDataset, probabilities: np.ndarray, tmp_path: Path) -> None:
    fingerprint = write_soft_labels(tmp_path / "soft", faces, probabilities, {"teachers": {"big": "c0de"}})
    found = with_soft_labels(faces, tmp_path / "soft", fingerprint)
    np.testing.assert_array_equal(found.soft_labels, probabilities.astype(np.float32))
    metadata = json.loads((tmp_path / "soft" / "facts.json").read_text())
    assert metadata == {"teachers": {"big": "c0de"}, "rows": 14, "fingerprint": fingerprint}
    assert write_soft_labels(tmp_path / "again", faces, probabilities, {}) == fingerprint


def test_soft_labels_that_do_not_fit_are_refused(faces: FaceDataset, probabilities: np.ndarray, tmp_path: Path) -> None:
    fingerprint = write_soft_labels(tmp_path / "soft", faces, probabilities, {})
    with pytest.raises(ParamsError, match="soft_labels_hash does not name the soft labels: run `fer distill --offline`"):
        with_soft_labels(faces, tmp_path / "soft", "none")
    with pytest.raises(SourceError, match=r"has fingerprint .*, train.soft_labels_hash is 0123"):
        with_soft_labels(faces, tmp_path / "soft", "0123")
    with pytest.raises(SourceError, match="other training rows or labels than those in use"):
        with_soft_labels(replace(faces, labels=(faces.labels + 1) % 7), tmp_path / "soft", fingerprint)
    with pytest.raises(SourceError, match=r"train.soft_label_weight needs .*, which cannot be read"):
        with_soft_labels(faces, tmp_path / "missing", fingerprint)


def test_label_target_holds_its_share_of_the_soft_label(faces: FaceDataset, probabilities: np.ndarray) -> None:
    """The target of a label holds the given share of its soft label."""
    recipe = TrainParams(batch_size=14, soft_label_weight=0.75, soft_labels_hash="0123")
    batches = Batches(replace(faces, soft_labels=probabilities.astype(np.float32)), recipe, 0)
    targets = batches[0][1]["labels"][np.argsort(batches.order)]
    np.testing.assert_allclose(targets, 0.25 * np.eye(7)[faces.labels] + 0.75 * probabilities, rtol=1e-5)
    with pytest.raises(
        ParamsError, match=r"train.soft_label_weight is 0.75, but the rows came without .*: run `fer distill --offline`"
    ):
        Batches(faces, recipe, 0)
