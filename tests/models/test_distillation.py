"""Offline distillation: soft labels of exported models."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from fer_pipeline.cli import derive
from fer_pipeline.cli.app import app
from fer_pipeline.config.editing import use_profile
from fer_pipeline.config.params import load_params
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import with_soft_labels
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.evaluation.tta import tta_views
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models.distillation import distill_offline


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


@pytest.mark.parametrize(("mode", "share"), [("--offline", "soft_label_weight"), ("--online", "distillation_weight")])
def test_distill_example_names_a_profile_that_uses_it(mode: str, share: str) -> None:
    """The example of a command names a profile that learns from what it stores."""
    profiles = re.findall(rf"Example: `fer distill {mode}.*--profile ([a-z-]+)", derive.distill.__doc__ or "")
    recipes = load_params(Path(__file__).parents[2] / "params.yaml")
    assert [getattr(recipes.recipe(profile), share) > 0 for profile in profiles] == [True]


def test_soft_labels_are_the_mean_over_views(processed: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """A teachers answer is its mean over the views at the temperature."""
    faces = ProcessedTable.open(processed).split("train")
    taught = distill_offline(models, processed, tmp_path / "labels", temperature=2.0)
    found = with_soft_labels(faces, tmp_path / "labels", taught.fingerprint).soft_labels
    assert found is not None
    classifiers = {name: EmotionClassifier.load(folder) for name, folder in models.items()}
    answers = [c.probabilities(np.ascontiguousarray(view)) for c in classifiers.values() for view in tta_views(faces.images)]
    expected = np.sqrt(np.mean(answers, axis=0))
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)
    metadata = json.loads((tmp_path / "labels" / "facts.json").read_text())
    assert metadata["teachers"] == {name: classifier.info.fingerprint for name, classifier in classifiers.items()}
    assert metadata["agreement"] == taught.agreement == pytest.approx((found.argmax(axis=1) == faces.labels).mean())


def test_a_teacher_of_other_pictures_is_refused(
    processed: Path, models: dict[str, Path], brightness_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"teacher real was trained on real faces, .* holds generated ones"):
        distill_offline({"real": brightness_model}, processed, tmp_path / "labels")
    with pytest.raises(ParamsError, match="0 teachers"):
        distill_offline({}, processed, tmp_path / "labels")
    with pytest.raises(ParamsError, match="temperature 0: expected"):
        distill_offline(models, processed, tmp_path / "labels", 0.0)


def test_distill_offline_stores_soft_labels_for_profiles(
    processed: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command stores soft labels under dvc and a profile goes on with them."""
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "profiles.yaml"):
        shutil.copy2(Path(__file__).parents[2] / name, tmp_path)
    Repo.init(str(tmp_path), no_scm=True)
    words = ["distill", "--offline", str(models["sharp"]), str(models["soft"]), "--weight", "0.6", "--processed", str(processed)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    train = load_params(Path("params.yaml")).train
    assert train.soft_label_weight == 0.6
    assert train.soft_labels_hash != "none"
    assert (tmp_path / "data" / "soft_labels.dvc").is_file()
    assert use_profile(Path("params.yaml"), "distill").soft_labels_hash == train.soft_labels_hash
    assert use_profile(Path("params.yaml"), "smoke").soft_label_weight == 0
    twice = CliRunner().invoke(app, ["distill", "--offline", str(models["soft"]), str(models["soft"])])
    assert isinstance(twice.exception, ParamsError)
