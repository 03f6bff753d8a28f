from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.soft_labels import load_training_faces, with_soft_labels, write_soft_labels
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


def test_fingerprints_of_stored_soft_labels_stay(faces: FaceDataset, tmp_path: Path) -> None:
    """Twelve digits over the bytes of the float32 values, whatever their order in memory."""
    eye = np.eye(7)[np.arange(14) % 7]
    assert write_soft_labels(tmp_path / "a", faces, eye, {}) == "585c2995815b"
    assert write_soft_labels(tmp_path / "b", faces, np.asfortranarray(eye), {}) == "585c2995815b"


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_training_rows_have_soft_labels_where_they_are_used(
    weight: float, faces: FaceDataset, probabilities: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = replace(faces, labels=(faces.labels + 1) % 7)

    class Table:
        @staticmethod
        def open(folder: Path) -> Table:
            assert folder == tmp_path / "processed"
            return Table()

        def split(self, name: str) -> FaceDataset:
            return {"train": faces, "validation": validation}[name]

    monkeypatch.setattr("fer_pipeline.data.table.soft_labels.ProcessedTable", Table)
    fingerprint = write_soft_labels(tmp_path / "soft", faces, probabilities, {})
    recipe = TrainParams(soft_label_weight=weight, soft_labels_hash=fingerprint if weight else "none")
    train, other = load_training_faces(tmp_path / "processed", tmp_path / "soft", recipe)
    assert other is validation
    if weight:
        np.testing.assert_array_equal(train.soft_labels, probabilities.astype(np.float32))
    else:
        assert train is faces


def test_each_refusal_says_how_to_make_soft_labels(faces: FaceDataset, probabilities: np.ndarray, tmp_path: Path) -> None:
    write_soft_labels(tmp_path / "soft", faces, probabilities, {})
    again = "run `fer distill --offline` or .* or set it to 0$"
    for folder, fingerprint in (("soft", "none"), ("soft", "0123"), ("missing", "0123")):
        with pytest.raises((ParamsError, SourceError), match=again):
            with_soft_labels(faces, tmp_path / folder, fingerprint)
