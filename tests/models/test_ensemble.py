"""Ensembles of models and of views."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.evaluation.tta import tta_views
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.pretrained import pretrained_folder
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models.ensemble import build_ensemble

PLAIN = EvaluateParams(bootstrap=100)


@pytest.fixture
def processed(tmp_path: Path, make_processed: Callable[..., Path]) -> Path:
    return make_processed(tmp_path / "processed", {"train": 28, "validation": 28, "test": 28})


@pytest.fixture
def models(tmp_path: Path, brightness_model: Path) -> dict[str, Path]:
    """Three models of generated faces that differ in their temperature alone."""
    found = {}
    for name, temperature in (("sharp", 0.5), ("plain", 1.0), ("soft", 4.0)):
        found[name] = Path(shutil.copytree(brightness_model, tmp_path / name))
        replace(ModelInfo.read(found[name]), temperature=temperature, synthetic=True).write(found[name])
        write_training_images(found[name], image_hashes([]))
    return found


def test_ensemble_averages_member_probabilities(processed: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """An ensemble answers with the mean of its members probabilities."""
    made = build_ensemble(models, processed, tmp_path / "ensemble", PLAIN, {"git_commit": "c0de"})
    ensemble = EmotionClassifier.load(tmp_path / "ensemble")
    assert ensemble.info == made.info
    images = ProcessedTable.open(processed).split("test").images
    mean = np.mean([EmotionClassifier.load(folder).probabilities(images) for folder in models.values()], axis=0)
    np.testing.assert_allclose(np.exp(ensemble.logits(images)), mean, atol=1e-6)
    assert made.info.temperature != 1  # fitted for the mean, not taken from the members
    assert made.info.lineage["members"].startswith("sharp ")
    assert set(made.members) == set(models)
    assert made.info.metrics == json.loads((tmp_path / "ensemble" / "metrics.json").read_text())
    assert made.info.metrics["rows"] == 28


@pytest.mark.parametrize("count", [2, 10])
def test_single_member_averages_logits_over_views(processed: Path, tmp_path: Path, count: int) -> None:
    """One model answers with the mean of its logits over the views of a picture."""
    trained = Path(shutil.copytree(pretrained_folder("fast"), tmp_path / "trained"))
    replace(ModelInfo.read(trained), synthetic=True).write(trained)  # the faces of these tests are generated
    params = EvaluateParams(bootstrap=100, test_time_augmentation=True)
    made = build_ensemble({"one": trained}, processed, tmp_path / "views", params, {}, tta_views=count)
    images = ProcessedTable.open(processed).split("test").images
    one = EmotionClassifier.load(trained)
    seen = [one.logits(np.ascontiguousarray(view)) for view in islice(tta_views(images), count)]
    assert np.ptp(seen, axis=0).max() > 0.01  # the views are not all the same to the network
    mean = np.mean(seen, axis=0) / one.info.temperature
    expected = mean - np.log(np.exp(mean).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(EmotionClassifier.load(tmp_path / "views").logits(images), expected, atol=1e-4)
    assert made.info.network == f"compact, mean of {count} views"
    assert "accuracy_tta" not in made.info.metrics  # views of views
    if count == 10:
        assert made.info.metrics["accuracy"] == made.members["one"]["accuracy_tta"]


def test_models_that_do_not_fit_together_are_no_ensemble(processed: Path, models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="an ensemble of 1 model and one view, expected two"):
        build_ensemble({"one": models["sharp"]}, processed, tmp_path / "ensemble", PLAIN, {})
    with pytest.raises(ParamsError, match="11 views of a picture, expected 1 to 10"):
        build_ensemble(models, processed, tmp_path / "ensemble", PLAIN, {}, tta_views=11)
    replace(ModelInfo.read(models["soft"]), image_spec=ImageSpec(denoise="median")).write(models["soft"])
    with pytest.raises(ModelError, match=r"soft expects image spec .*median"):
        build_ensemble(models, processed, tmp_path / "ensemble", PLAIN, {})
    assert not (tmp_path / "ensemble").exists()
