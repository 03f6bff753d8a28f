from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fer_pipeline import params
from fer_pipeline.errors import ParamsError

SHIPPED = Path(__file__).parents[1] / "params.yaml"


@pytest.fixture
def values() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    return content


@pytest.fixture
def file(tmp_path: Path) -> Path:
    copy = tmp_path / "params.yaml"
    copy.write_text(SHIPPED.read_text())
    return copy


def test_the_shipped_file_is_valid_and_its_recipe_is_the_profile_it_names() -> None:
    shipped = params.load(SHIPPED)
    assert shipped.train == shipped.recipe(shipped.train.profile)


def test_the_shipped_file_spells_every_value_out(values: dict[str, Any]) -> None:
    written = params.load(SHIPPED).model_dump(mode="json", by_alias=True)
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
        params.parse(values)


def test_a_missing_section_is_named(values: dict[str, Any]) -> None:
    del values["train"]
    with pytest.raises(ParamsError, match="train is missing"):
        params.parse(values)


def test_a_profile_with_a_typo_is_refused_when_the_file_is_read(values: dict[str, Any]) -> None:
    values["profiles"]["smoke"]["epoch"] = 3
    with pytest.raises(ParamsError, match="epoch"):
        params.parse(values)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run from the root"):
        params.load(tmp_path / "params.yaml")


def test_a_broken_file_is_reported_as_such(file: Path) -> None:
    file.write_text("train: [")
    with pytest.raises(ParamsError, match="no valid YAML"):
        params.load(file)


def test_writing_a_value_keeps_every_comment(file: Path) -> None:
    before = file.read_text()
    params.write_values(file, {"fetch.source": "data/source"})
    after = file.read_text()
    assert after == before.replace("source: fer_pipeline/datasets/synthetic.py", "source: data/source")


def test_an_unfit_value_is_not_written(file: Path) -> None:
    before = file.read_text()
    with pytest.raises(ParamsError):
        params.write_values(file, {"train.lr": -1.0})
    assert file.read_text() == before


def test_using_a_profile_writes_its_whole_recipe(file: Path) -> None:
    params.write_values(file, {"train.lr": 0.5, "train.augment.flip": False})
    recipe = params.use_profile(file, "smoke")
    assert params.load(file).train == recipe == params.load(SHIPPED).recipe("smoke")


def test_an_unknown_profile_gets_a_suggestion(file: Path) -> None:
    with pytest.raises(ParamsError, match="did you mean 'smoke'"):
        params.use_profile(file, "smok")


def test_the_fingerprint_changes_with_any_value() -> None:
    recipe = params.load(SHIPPED).train
    assert params.fingerprint(recipe) == params.fingerprint(recipe.model_copy())
    assert params.fingerprint(recipe) != params.fingerprint(recipe.model_copy(update={"seed": 1}))
