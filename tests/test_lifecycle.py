from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fer_pipeline import lifecycle
from fer_pipeline.errors import ModelError
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.modeling import registry, tracking
from fer_pipeline.serving import packaging


@pytest.fixture
def root(tmp_path: Path, tracking_store: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with three registered versions of one name, none of them champion; building a bundle only notes its name."""
    shutil.copy2(Path(__file__).parents[1] / "params.yaml", tmp_path)
    for number in (1, 2, 3):
        export = tmp_path / f"export{number}"
        shutil.copytree(brightness_model, export)
        info = replace(ModelInfo.read(export), temperature=float(number))
        info.write(export)
        registry.register(export, info, "fer", tracking.ensure_run(None, "tiny", {}), {})
    monkeypatch.setattr(packaging, "package", lambda _folder, version, _root: f"fer:{version}")
    monkeypatch.setattr(packaging, "is_packaged", lambda _tag: True)
    return tmp_path


def crown(root: Path, *numbers: int) -> None:
    for number in numbers:
        lifecycle.crown(lifecycle.challenger(root, number))


def test_rolling_back_makes_the_champion_before_champion_again(root: Path) -> None:
    crown(root, 1, 2, 3)
    version, bundle = lifecycle.roll_back(root, None)
    assert version.number == 2
    assert bundle.startswith("fer:v2-")
    assert lifecycle.champion(root).number == 2


def test_rolling_back_twice_goes_back_two_steps(root: Path) -> None:
    crown(root, 1, 2, 3)
    lifecycle.roll_back(root, None)
    lifecycle.roll_back(root, None)
    assert lifecycle.champion(root).number == 1
    with pytest.raises(ModelError, match="an earlier champion is not there"):
        lifecycle.roll_back(root, None)


def test_a_version_can_be_named_also_one_that_was_rolled_back(root: Path) -> None:
    crown(root, 1, 3)
    lifecycle.roll_back(root, 1)
    lifecycle.roll_back(root, 3)
    assert lifecycle.champion(root).number == 3
    assert "rolled_back" not in lifecycle.champion(root).tags


def test_the_gate_does_not_promote_again_what_was_rolled_back(root: Path) -> None:
    crown(root, 1, 3)
    lifecycle.roll_back(root, None)
    decision = lifecycle.judge(root, lifecycle.challenger(root, 3))
    assert not decision.promoted
    assert "fer rollback --to 3" in decision.markdown()


def test_the_champion_stays_without_a_contest_against_itself(root: Path) -> None:
    crown(root, 2)
    assert lifecycle.judge(root, lifecycle.challenger(root, 2)).promoted


@pytest.mark.parametrize("number", [9, 2])
def test_a_version_that_is_not_there_or_reigns_is_refused(root: Path, number: int) -> None:
    crown(root, 1, 2)
    with pytest.raises(ModelError, match="other versions are 1, 3"):
        lifecycle.roll_back(root, number)
    assert lifecycle.champion(root).number == 2


def test_without_a_champion_there_is_nothing_to_roll_back_or_package(root: Path) -> None:
    with pytest.raises(ModelError, match="no champion yet"):
        lifecycle.roll_back(root, None)


def test_the_challenger_is_the_newest_version_unless_one_is_named(root: Path) -> None:
    assert lifecycle.challenger(root, None).number == 3
    assert lifecycle.challenger(root, 1).number == 1
    with pytest.raises(ModelError, match=r"no version 7 \(versions: 1, 2, 3\)"):
        lifecycle.challenger(root, 7)
