"""Online distillation, on TensorFlow and, where it is installed, on JAX (KERAS_BACKEND=jax)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from dvc.repo import Repo
from keras import layers
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.config.editing import use_profile
from fer_pipeline.config.params import load_params
from fer_pipeline.config.training import AugmentParams, TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.metrics import classification
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.training import checkpoints, learner, train as training
from fer_pipeline.training.teachers import load_teachers, store_teachers
from fer_pipeline.training.train import train

Make = Callable[[int, int], FaceDataset]
PARAMS = TrainParams(
    epochs=6,
    batch_size=35,
    lr=0.1,
    schedule="constant",
    warmup_share=0.0,
    label_smoothing=0.0,
    weight_decay=0.0,
    ema_decay=0.5,
    augment=AugmentParams(flip=False),
)


def tiny(_: TrainParams, *, any_size: bool = False, mixed_precision: bool = False) -> keras.Model:
    image = keras.Input((48, 48, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = layers.ReLU()(layers.Conv2D(4, 8, strides=8)(x))
    x = layers.Flatten()(layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(image, layers.Dense(7, name="logits")(x), name="tiny")


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (learner, training):
        monkeypatch.setattr(module, "build", tiny)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A trained folder whose network says "happy", and with half of that probability "sad", of every picture."""
    network = tiny(PARAMS)
    kernel, _ = network.layers[-1].get_weights()
    network.layers[-1].set_weights([0 * kernel, np.log(np.array([1e-4, 1e-4, 1e-4, 2, 1, 1e-4, 1e-4], np.float32))])
    folder = tmp_path / "happy"
    folder.mkdir()
    network.save(folder / "model.keras")
    return folder


def taught(folder: Path, teacher: Path, **values: Any) -> TrainParams:
    fingerprint = store_teachers(folder, {"happy": teacher})
    return PARAMS.with_values({"distillation_weight": 1.0, "teachers_hash": fingerprint, **values})


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_student_of_weight_1_learns_from_its_teacher_alone(
    make_stripes: Make, teacher: Path, mixed_precision: bool, tmp_path: Path
) -> None:
    """A student of weight 1 learns what its teacher says and nothing of the labels."""
    recipe = taught(tmp_path / "teachers", teacher, mixed_precision=mixed_precision, epochs=8)
    faces = make_stripes(70, 0)
    result = train(faces, make_stripes(21, 1), recipe, tmp_path / "checkpoints", teachers=tmp_path / "teachers")
    answers = classification.softmax(result.network.predict(faces.images, verbose=0)).mean(axis=0)
    np.testing.assert_allclose(answers[3:5], [2 / 3, 1 / 3], atol=0.15)
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_teachers_stay_as_they_are_and_out_of_the_checkpoint(make_stripes: Make, teacher: Path, tmp_path: Path) -> None:
    recipe = taught(tmp_path / "teachers", teacher, epochs=2)
    train(make_stripes(70, 0), make_stripes(21, 1), recipe, tmp_path / "taught", teachers=tmp_path / "teachers")
    alone = recipe.with_values({"distillation_weight": 0.0, "teachers_hash": "none"})
    train(make_stripes(70, 0), make_stripes(21, 1), alone, tmp_path / "alone")
    with np.load(tmp_path / "taught" / checkpoints.STATE_FILE) as state, np.load(tmp_path / "alone" / "state.npz") as other:
        assert {name: state[name].shape for name in state.files if name != "facts"} == {
            name: other[name].shape for name in other.files if name != "facts"
        }
    ((network, temperature),) = load_teachers(tmp_path / "teachers", recipe.teachers_hash, mixed_precision=False)
    assert temperature == 1
    for kept, given in zip(network.get_weights(), keras.models.load_model(teacher / "model.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(kept, given)


def test_resumed_run_with_teachers_equals_uninterrupted_run(make_stripes: Make, teacher: Path, tmp_path: Path) -> None:
    """A resumed run with teachers ends like one that was not killed."""
    recipe = taught(tmp_path / "teachers", teacher, epochs=4, evaluate_every=2, distillation_weight=0.5)
    data = make_stripes(70, 0), make_stripes(21, 1)

    def kill(epoch: int, _: dict[str, float]) -> None:
        raise KeyboardInterrupt

    whole = train(*data, recipe, tmp_path / "a", teachers=tmp_path / "teachers")
    with pytest.raises(KeyboardInterrupt):
        train(*data, recipe, tmp_path / "b", kill, tmp_path / "teachers")
    resumed = train(*data, recipe, tmp_path / "b", teachers=tmp_path / "teachers")
    assert resumed.resumed_after == 2
    for a, b in zip(whole.network.get_weights(), resumed.network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_unmeasured_epochs_change_only_the_history(make_stripes: Make, tmp_path: Path) -> None:
    """Epochs that are not measured change nothing but the history."""
    data = make_stripes(70, 0), make_stripes(21, 1)
    each = train(*data, PARAMS.with_values({"epochs": 5}), tmp_path / "each")
    told: list[int] = []
    some = train(
        *data, PARAMS.with_values({"epochs": 5, "evaluate_every": 2}), tmp_path / "some", lambda epoch, _: told.append(epoch)
    )
    assert told == [entry["epoch"] for entry in some.history] == [2, 4, 5]
    assert some.best == some.history[-1]
    assert "5 epochs" in some.summary
    for a, b in zip(each.network.get_weights(), some.network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_calibrated_teacher_brings_its_temperature(teacher: Path, brightness_model: Path, tmp_path: Path) -> None:
    exported = Path(shutil.copytree(brightness_model, tmp_path / "exported"))
    shutil.copyfile(teacher / "model.keras", exported / "model.keras")
    replace(ModelInfo.read(exported), temperature=0.7).write(exported)
    fingerprint = store_teachers(tmp_path / "teachers", {"fer/3": exported, "plain": teacher})
    found = load_teachers(tmp_path / "teachers", fingerprint, mixed_precision=True)
    assert [temperature for _, temperature in found] == [0.7, 1.0]
    assert {network.layers[-1].compute_dtype for network, _ in found} == {"float32"}
    assert {network.layers[2].compute_dtype for network, _ in found} == {"bfloat16"}


def test_missing_or_other_teachers_are_refused(teacher: Path, tmp_path: Path) -> None:
    """Teachers that are missing or others than the recipe names are refused."""
    with pytest.raises(ModelError, match="holds no teacher: run `fer distill --online MODELS`"):
        load_teachers(tmp_path / "none", "0" * 12, mixed_precision=False)
    fingerprint = store_teachers(tmp_path / "teachers", {"happy": teacher})
    with pytest.raises(ParamsError, match="does not name the teachers"):
        load_teachers(tmp_path / "teachers", "none", mixed_precision=False)
    with pytest.raises(ModelError, match=f"has fingerprint {fingerprint}, train.teachers_hash is 000000000000"):
        load_teachers(tmp_path / "teachers", "0" * 12, mixed_precision=False)
    with pytest.raises(ParamsError, match="no teacher was given"):
        store_teachers(tmp_path / "teachers", {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty has no model\.keras"):
        store_teachers(tmp_path / "teachers", {"empty": tmp_path / "empty"})
    assert load_teachers(tmp_path / "teachers", fingerprint, mixed_precision=False)  # what was there before stays


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distillation_weight": 0.5, "low_resolution_epochs": 2, "low_resolution_size": 32}, "teachers answer at 48 px only"),
        ({"evaluate_every": 2, "early_stopping_patience": 3}, "set evaluate_every 2 to 1"),
        ({"evaluate_every": 2, "schedule": "plateau"}, "set evaluate_every 2 to 1"),
    ],
)
def test_recipes_that_cannot_be_meant_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        PARAMS.with_values(values)


def test_distill_online_stores_teachers_for_profiles(
    teacher: Path, tmp_path: Path, make_processed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command stores teachers under dvc and a profile goes on with them."""
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "profiles.yaml"):
        shutil.copy2(Path(__file__).parents[2] / name, tmp_path)
    make_processed(tmp_path / "data" / "processed", {"train": 7, "validation": 7, "test": 7})
    Repo.init(str(tmp_path), no_scm=True)
    (teacher / "training.json").write_text(json.dumps({}))
    exported = Path(shutil.copytree(teacher, tmp_path / "m"))
    monkeypatch.setattr("fer_pipeline.cli.derive.model_path", lambda _: exported)
    write_training_images(exported, image_hashes([f"{8:032x}"]))  # a validation row
    refused = CliRunner().invoke(app, ["distill", "--online", "m"])
    assert "learned from 1 of the 7 validation rows" in str(refused.exception)
    assert not (tmp_path / "data" / "teachers").exists()
    write_training_images(exported, image_hashes([f"{3:032x}"]))
    done = CliRunner().invoke(app, ["distill", "--online", "m", "--weight", "0.6"])
    assert done.exit_code == 0, done.output
    recipe = load_params(Path("params.yaml")).train
    assert (recipe.distillation_weight, len(recipe.teachers_hash)) == (0.6, 12)
    assert (tmp_path / "data" / "teachers.dvc").is_file()
    assert use_profile(Path("params.yaml"), "gpu-record").teachers_hash == recipe.teachers_hash
    assert use_profile(Path("params.yaml"), "gpu").teachers_hash == "none"
