from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from fer_pipeline.cli import derive
from fer_pipeline.cli.app import app
from fer_pipeline.config import params
from fer_pipeline.config.editing import use_profile
from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import with_soft_labels
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.evaluation.tta import tta_views
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.pretrained import pretrained_folder
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models.distillation import distill_offline
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


@pytest.mark.parametrize(("mode", "share"), [("--offline", "soft_label_weight"), ("--online", "distillation_weight")])
def test_the_example_of_a_command_names_a_profile_that_learns_from_what_it_stores(mode: str, share: str) -> None:
    profiles = re.findall(rf"Example: `fer distill {mode}.*--profile ([a-z-]+)", derive.distill.__doc__ or "")
    recipes = params.load(Path(__file__).parents[2] / "params.yaml")
    assert [getattr(recipes.recipe(profile), share) > 0 for profile in profiles] == [True]


def test_an_ensemble_answers_with_the_mean_of_its_members_probabilities(
    processed: Path, models: dict[str, Path], tmp_path: Path
) -> None:
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
def test_one_model_answers_with_the_mean_of_its_logits_over_the_views_of_a_picture(
    processed: Path, tmp_path: Path, count: int
) -> None:
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


def test_a_teachers_answer_is_its_mean_over_the_views_at_the_temperature(
    processed: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    faces = ProcessedTable.open(processed).split("train")
    taught = distill_offline(models, processed, tmp_path / "labels", temperature=2.0)
    found = with_soft_labels(faces, tmp_path / "labels", taught.fingerprint).soft_labels
    assert found is not None
    classifiers = {name: EmotionClassifier.load(folder) for name, folder in models.items()}
    answers = [c.probabilities(np.ascontiguousarray(view)) for c in classifiers.values() for view in tta_views(faces.images)]
    expected = np.sqrt(np.mean(answers, axis=0))
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)
    facts = json.loads((tmp_path / "labels" / "facts.json").read_text())
    assert facts["teachers"] == {name: classifier.info.fingerprint for name, classifier in classifiers.items()}
    assert facts["agreement"] == taught.agreement == pytest.approx((found.argmax(axis=1) == faces.labels).mean())


def test_a_teacher_of_other_pictures_is_refused(
    processed: Path, models: dict[str, Path], brightness_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"teacher real was trained on real faces, .* holds generated ones"):
        distill_offline({"real": brightness_model}, processed, tmp_path / "labels")
    with pytest.raises(ParamsError, match="0 teachers"):
        distill_offline({}, processed, tmp_path / "labels")
    with pytest.raises(ParamsError, match="temperature 0: expected"):
        distill_offline(models, processed, tmp_path / "labels", 0.0)


def test_one_command_stores_soft_labels_under_dvc_and_a_profile_goes_on_with_them(
    processed: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy2(Path(__file__).parents[2] / "params.yaml", tmp_path)
    Repo.init(str(tmp_path), no_scm=True)
    words = ["distill", "--offline", str(models["sharp"]), str(models["soft"]), "--weight", "0.6", "--processed", str(processed)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    train = params.load(Path("params.yaml")).train
    assert train.soft_label_weight == 0.6
    assert train.soft_labels_hash != "none"
    assert (tmp_path / "data" / "soft_labels.dvc").is_file()
    assert use_profile(Path("params.yaml"), "distill").soft_labels_hash == train.soft_labels_hash
    assert use_profile(Path("params.yaml"), "smoke").soft_label_weight == 0
    twice = CliRunner().invoke(app, ["distill", "--offline", str(models["soft"]), str(models["soft"])])
    assert isinstance(twice.exception, ParamsError)
