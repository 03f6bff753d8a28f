from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fer_pipeline.config.base import fingerprint
from fer_pipeline.config.params import (
    FetchParams,
    PreprocessParams,
    load_params,
    parse_params,
    recipe_fingerprint,
    with_current_names,
)
from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import ParamsError

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def values() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    return content


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("params.yaml", "profiles.yaml"):
        (tmp_path / name).write_text(SHIPPED.with_name(name).read_text())
    return tmp_path / "params.yaml"


def test_the_recipe_of_params_yaml_is_the_profile_it_names() -> None:
    """The shipped file is valid and its recipe is the profile it names."""
    shipped = load_params(SHIPPED)
    assert shipped.train == shipped.recipe(shipped.train.profile)


def test_the_shipped_file_spells_every_value_out(values: dict[str, Any]) -> None:
    written = load_params(SHIPPED).model_dump(mode="json", by_alias=True)
    for section, content in written.items():
        assert section == "profiles" or values[section] == content, f"section {section} leaves a value to its default"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epoch", 3, "unknown key train.epoch, did you mean 'epochs'"),
        ("train.augment.flop", True, "unknown key train.augment.flop, did you mean 'flip'"),
        ("validate.max_leek_share", 0.1, "did you mean 'max_leak_share'"),
        ("train.lr", -1.0, r"train.lr = -1.0: .*greater than 0"),
        ("train.lr", "fast", "train.lr = 'fast'"),
        ("train.epochs", 2.5, "train.epochs = 2.5"),
        ("train.network", "compct", "did you mean 'compact'"),
        ("train.low_resolution_epochs", 999, "exceeds epochs"),
        ("tune.trial", 3, "unknown key tune.trial, did you mean 'trials'"),
        ("tune.space.lrr", {"low": 0.1, "high": 0.2}, r"tune.space: train has no key 'lrr', did you mean 'lr'\?"),
        ("tune.space.shift", {"low": 0.0, "high": 0.2}, "did you mean 'augment.shift'"),
        ("tune.space.lr", {"low": 0.2, "high": 0.1}, "low 0.2 is not below high 0.1"),
        ("tune.space.lr", {"low": 0.0, "high": 0.1, "log": True}, "expected a number above 0"),
        ("tune.space.lr", {"low": 0.1, "hi": 0.2}, "high is missing"),
        ("tune.space.lr", 0.1, "tune.space.lr"),
        ("tune.space.lr", {"choices": [0.1]}, "at least 2 items"),
        ("tune.space.momentum", {"low": 0.8, "high": 1.5}, "momentum = 1.5"),
        ("tune.space.batch_size", {"low": 16.5, "high": 64}, "batch_size = 16.5"),
        ("tune.space.epochs", {"low": 1, "high": 9}, "epochs is the same for all trials"),
        ("tune.space", {}, "at least 1 item"),
        ("preprocess.denoise", "blur", "preprocess.denoise = 'blur'"),
    ],
)
def test_a_wrong_value_is_named_and_a_typo_gets_a_suggestion(values: dict[str, Any], key: str, value: Any, message: str) -> None:
    *parents, last = key.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[last] = value
    with pytest.raises(ParamsError, match=message):
        parse_params(values)


def test_a_missing_section_is_named(values: dict[str, Any]) -> None:
    del values["train"]
    with pytest.raises(ParamsError, match="train is missing"):
        parse_params(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smoke: {epoch: 3}", r"profiles.yaml: smoke: unknown key epoch, did you mean 'epochs'\?"),
        ("smoke: {ema: 0.5}", "profiles.yaml: smoke: ema is called ema_decay now"),
        ("smoke: 3", "profiles.yaml: smoke = 3, expected the keys of a recipe"),
        ("- smoke", "profiles.yaml holds list, expected recipes by name"),
    ],
)
def test_a_profile_with_a_fault_is_refused(file: Path, text: str, message: str) -> None:
    file.with_name("profiles.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message):
        load_params(file)


def test_the_profiles_of_an_earlier_params_yaml_are_read(file: Path) -> None:
    """Also without profiles.yaml; of two with one name that of profiles.yaml counts."""
    file.write_text(file.read_text() + "profiles:\n  mine: {epochs: 7}\n  smoke: {epochs: 7}\n")
    assert [load_params(file).recipe(name).epochs for name in ("mine", "smoke")] == [7, 12]
    file.with_name("profiles.yaml").unlink()
    assert [load_params(file).recipe(name).epochs for name in ("mine", "smoke")] == [7, 7]


def test_a_profile_without_profiles_yaml_says_what_to_do(file: Path) -> None:
    file.with_name("profiles.yaml").unlink()
    with pytest.raises(ParamsError, match=r"profiles.yaml has none: `git checkout profiles.yaml` brings"):
        load_params(file).recipe("smoke")


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run from the root"):
        load_params(tmp_path / "params.yaml")


def test_a_broken_file_is_reported_as_such(file: Path) -> None:
    file.write_text("train: [")
    with pytest.raises(ParamsError, match="no valid YAML"):
        load_params(file)


def test_the_fingerprint_changes_with_any_value() -> None:
    recipe = load_params(SHIPPED).train
    assert fingerprint(recipe) == fingerprint(recipe.model_copy())
    assert fingerprint(recipe) != fingerprint(recipe.model_copy(update={"seed": 1}))


def test_where_spark_runs_changes_no_fingerprint() -> None:
    """A recipe is the same one on any Spark master; as versions of before computed it for the local one."""
    params = load_params(SHIPPED)
    elsewhere = params.preprocess.model_copy(update={"spark_master": "spark://10.0.0.1:7077"})
    assert fingerprint(elsewhere) == fingerprint(params.preprocess)
    assert recipe_fingerprint(params.model_copy(update={"preprocess": elsewhere})) == recipe_fingerprint(params)
    assert fingerprint(PreprocessParams()) == "ac8937dafdbd"


def test_a_shortened_recipe_keeps_its_proportions(file: Path) -> None:
    recipe = load_params(file).recipe("smoke").shortened(3)
    assert (recipe.epochs, recipe.low_resolution_epochs) == (3, 2)  # of 12 and 8
    assert load_params(file).recipe("smoke").shortened(1).low_resolution_epochs == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("preprocess.master", "local[2]", "preprocess.master is called preprocess.spark_master now: rename the key"),
        ("preprocess.balance_to", 0.5, "preprocess.balance_to is called preprocess.oversample_to now"),
        ("fetch.synthetic", {"faces": 300}, "number and seed of synthetic faces now stand in data/synthetic.yaml"),
        ("fetch.source", "fer_pipeline/datasets/synthetic.py", "to use those faces, set fetch.source to data/synthetic.yaml"),
        ("feedback.near_bits", 3, "feedback.near_bits is called feedback.max_hash_distance now"),
        ("train.soften", 0.5, "train.soften is called train.soft_label_weight now"),
        ("train.soften_with", "none", "train.soften_with is called train.soft_labels_hash now"),
        ("train.teachers_weight", 0.5, "train.teachers_weight is called train.distillation_weight now"),
        ("train.teachers_with", "none", "train.teachers_with is called train.teachers_hash now"),
        ("train.votes_weight", 0.5, "train.votes_weight is called train.vote_loss_weight now"),
        ("train.ema", 0.5, "train.ema is called train.ema_decay now"),
        ("profiles", {"smoke": {"ema": 0.5}}, "profiles: smoke: ema is called ema_decay now"),
    ],
)
def test_an_old_key_is_named_with_its_new_name(values: dict[str, Any], key: str, value: Any, message: str) -> None:
    *parents, last = key.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[last] = value
    with pytest.raises(ParamsError, match=message):
        parse_params(values)


def test_logged_parameters_are_read_by_their_current_names() -> None:
    """Logged parameters of any version have the names of today."""
    logged = {"train.ema": "0.9", "train.augment.flip": "True", "preprocess.master": "local[2]", "baseline.cell": "8"}
    today = {"train.ema_decay": "0.9", "train.augment.flip": "True", "preprocess.spark_master": "local[2]", "baseline.cell": "8"}
    assert with_current_names(logged) == today


def test_a_renamed_key_of_train_changes_no_fingerprint() -> None:
    """A checkpoint of an earlier version belongs to the same recipe."""
    recipe = TrainParams(vote_loss_weight=0.4, soft_label_weight=0.7, soft_labels_hash="0123", ema_decay=0.9)
    assert fingerprint(recipe) == "06cecd7223bd"  # as version 0.1.0 computed it


def test_an_added_key_counts_where_it_is_not_at_its_default() -> None:
    recipe = TrainParams(vote_loss_weight=0.4)
    assert fingerprint(recipe) == fingerprint(recipe.with_values({"vote_share": 0.0}))
    assert fingerprint(recipe) != fingerprint(recipe.with_values({"vote_share": 0.5}))
    assert fingerprint(FetchParams()) == "59df3058a7bd"  # as version 0.1.0 computed it


def test_a_stored_section_is_read_with_old_and_new_keys() -> None:
    """Unknown keys stay errors, and the fingerprint is the one that the old key gave."""
    current = PreprocessParams.from_stored({"drop_non_faces": 5, "seed": 3, "spark_master": "local[2]"})
    assert current == PreprocessParams(min_non_face_votes=5, seed=3, spark_master="local[2]")
    assert PreprocessParams.with_current_keys({"balance_to": 0.5, "other": 1}) == {"oversample_to": 0.5, "other": 1}
    with pytest.raises(ValidationError):
        PreprocessParams.from_stored({"other": 1})
    assert fingerprint(load_params(SHIPPED).preprocess) == "da62635ae41f"
