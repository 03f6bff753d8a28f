from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.config import editing
from fer_pipeline.config.params import load_params
from fer_pipeline.errors import ParamsError

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("params.yaml", "profiles.yaml"):
        (tmp_path / name).write_text(SHIPPED.with_name(name).read_text())
    return tmp_path / "params.yaml"


def test_writing_a_value_keeps_every_comment(file: Path) -> None:
    before = file.read_text()
    editing.write_values(file, {"fetch.source": "data/source"})
    after = file.read_text()
    assert after == before.replace("source: data/synthetic.yaml", "source: data/source")


def test_an_unfit_value_is_not_written(file: Path) -> None:
    before = file.read_text()
    with pytest.raises(ParamsError):
        editing.write_values(file, {"train.lr": -1.0})
    assert file.read_text() == before


def test_using_a_profile_writes_its_whole_recipe(file: Path) -> None:
    editing.write_values(file, {"train.lr": 0.5, "train.augment.flip": False})
    recipe = editing.use_profile(file, "smoke")
    assert load_params(file).train == recipe == load_params(SHIPPED).recipe("smoke")


def test_an_unknown_profile_gets_a_suggestion(file: Path) -> None:
    with pytest.raises(ParamsError, match="did you mean 'smoke'"):
        editing.use_profile(file, "smok")


def test_a_saved_profile_names_only_what_differs(file: Path) -> None:
    """A saved profile names only what differs and keeps every comment."""
    profiles = file.with_name("profiles.yaml")
    before = profiles.read_text()
    recipe = load_params(file).recipe("cpu").with_values({"augment.shift": 0.02, "lr": 0.07})
    editing.save_profile(file, "cpu-tuned", recipe, "Found by a search.\nNot measured.")
    after = profiles.read_text()
    assert after.startswith(before.rstrip("\n"))
    added = after[len(before.rstrip("\n")) :]
    assert "\n\n# Found by a search.\n# Not measured.\ncpu-tuned:\n" in added
    assert "label_smoothing" not in added
    assert load_params(file).recipe("cpu-tuned") == recipe.model_copy(update={"profile": "cpu-tuned"})


@pytest.mark.parametrize(
    ("name", "message"), [("smoke", "there is a profile 'smoke' already"), ("My profile", "use a-z, 0-9 and -")]
)
def test_a_profile_is_not_saved_under_an_unfit_name(file: Path, name: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        editing.save_profile(file, name, load_params(file).train, "")
