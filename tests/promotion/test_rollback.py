"""Roll-back to an earlier champion, on registered versions of a small model."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.errors import ModelError, ToolUnavailableError, WorkspaceBusyError
from fer_pipeline.experiments import registry
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion import champion
from fer_pipeline.promotion.bundle import bento, store
from fer_pipeline.promotion.rollback import roll_back
from fer_pipeline.workspace import layout
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive
from tests.promotion.steps import make_champion


@pytest.fixture
def root(registered: Path) -> Path:
    return registered


def numbers_rolled_back(root: Path) -> set[int]:
    return {version.number for version in registry.versions("fer") if "rolled_back_at" in version.tags}


def test_rolling_back_makes_the_champion_before_champion_again(root: Path) -> None:
    make_champion(root, 1, 2, 3)
    done = roll_back(root, None)
    assert done.version.number == 2
    assert done.bundle.startswith("fer:v2-")
    assert champion.champion(root).number == 2
    assert ModelInfo.read(root / layout.BUNDLE).temperature == 2.0  # data/bundle follows the champion
    named = ModelInfo.read(root / layout.BUNDLE).lineage
    assert (named["name"], named["version"], named["alias"]) == ("fer", "2", "champion")


def test_rolling_back_twice_goes_back_two_steps(root: Path) -> None:
    make_champion(root, 1, 2, 3)
    roll_back(root, None)
    roll_back(root, None)
    assert champion.champion(root).number == 1
    with pytest.raises(ModelError, match="no earlier champion to go back to"):
        roll_back(root, None)


def test_rolling_back_does_not_wait_for_a_training(root: Path) -> None:
    make_champion(root, 1, 2)
    with exclusive(root / RUN_LOCK, "train-champion"):
        done = CliRunner().invoke(app, ["rollback"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert champion.champion(root).number == 1
    with pytest.raises(WorkspaceBusyError, match="another promotion or roll-back was faster"):
        champion.set_champion(root, champion.challenger(root, 3), "fer version 2")  # what the training decided before


def test_a_failed_roll_back_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A roll back that fails leaves the champion unmarked and everything in place."""

    def away(*_: object) -> None:
        raise ToolUnavailableError("MLflow is away")

    make_champion(root, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", away)
        with pytest.raises(ToolUnavailableError, match="MLflow is away"):
            roll_back(root, None)
    assert "rolled_back_at" not in champion.champion(root).tags
    assert ModelInfo.read(root / layout.BUNDLE).temperature == 2.0
    assert [path.name for path in (root / "data").glob(".bundle.*")] == []  # nothing aside is left
    assert roll_back(root, None).version.number == 1


def test_a_roll_back_on_a_full_disk_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk a roll back changes nothing and the next one goes back one step."""
    copy = shutil.copy2

    def full(source: Path, target: Path) -> Path:
        if ".bundle.new" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(source, target)

    make_champion(root, 1, 2, 3)
    bundle = root / layout.BUNDLE
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(OSError, match="No space left"):
            roll_back(root, None)
    assert champion.champion(root).number == 3
    assert ModelInfo.read(bundle).temperature == 3.0
    assert not list(bundle.parent.glob(".bundle.*"))
    assert roll_back(root, None).version.number == 2


def test_a_roll_back_after_another_promotion_stays_noted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A roll back that comes after another promotion stays noted."""
    make_champion(root, 1, 2)
    monkeypatch.setattr(store, "is_packaged", lambda _tag: registry.set_alias(champion.challenger(root, 3), "champion"))
    registry.tag_version(champion.challenger(root, 1), {"bundle": "fer:v1"})
    with pytest.raises(WorkspaceBusyError, match="fer version 3 is champion now"):
        roll_back(root, None)
    assert "rolled_back_at" in champion.challenger(root, 2).tags


def test_a_version_can_be_named_also_one_that_was_rolled_back(root: Path) -> None:
    make_champion(root, 1, 3)
    roll_back(root, 1)
    roll_back(root, 3)
    assert champion.champion(root).number == 3
    assert numbers_rolled_back(root) == set()


def test_after_a_false_alarm_a_roll_back_finds_the_one_before(root: Path) -> None:
    """After a false alarm the roll back still finds the champion before."""
    make_champion(root, 1, 2, 3)
    roll_back(root, None)
    roll_back(root, 3)  # nothing was wrong with it
    assert numbers_rolled_back(root) == set()
    assert roll_back(root, None).version.number == 2  # there was, after all
    assert numbers_rolled_back(root) == {3}


def test_to_name_a_version_that_never_was_champion_marks_none(root: Path) -> None:
    """To name a version that never was champion says nothing against the one before."""
    make_champion(root, 1, 2)
    roll_back(root, 3)
    assert numbers_rolled_back(root) == set()
    assert roll_back(root, None).version.number == 2
    assert numbers_rolled_back(root) == {3}


def test_a_synthetic_model_follows_a_real_one_only_by_name(root: Path) -> None:
    """A model of synthetic faces follows one of real pictures only by name."""
    make_champion(root, 1, 2, 3)
    registry.tag_version(champion.challenger(root, 2), {"synthetic": "true"})
    done = CliRunner().invoke(app, ["rollback"])
    assert "fer version 1 is champion again" in done.output
    assert "passed over: fer version 2, trained on synthetic faces; `fer rollback --to 2` takes it" in done.output
    with pytest.raises(ModelError, match=r"no earlier champion but fer version 2, of synthetic faces .* --to takes one of 2, 3"):
        roll_back(root, None)
    assert roll_back(root, 2).version.number == 2


def test_a_synthetic_model_follows_a_synthetic_champion(root: Path) -> None:
    """A model of synthetic faces follows another one as any champion does."""
    make_champion(root, 1, 2)
    for number in (1, 2):
        registry.tag_version(champion.challenger(root, number), {"synthetic": "true"})
    done = roll_back(root, None)
    assert (done.version.number, done.skipped) == (1, ())


@pytest.mark.parametrize(("word", "fault"), [("9", "no version or alias '9'"), ("v2", "no other version v2 to go back to")])
def test_a_missing_version_or_the_champion_is_refused(root: Path, word: str, fault: str) -> None:
    """A version that is not there or is champion is refused."""
    make_champion(root, 1, 2)
    with pytest.raises(ModelError, match=fault):
        roll_back(root, word)
    assert champion.champion(root).number == 2


def test_without_an_earlier_champion_the_versions_are_listed(root: Path) -> None:
    """Where nothing was champion before the roll back says which versions there are."""
    make_champion(root, 2)
    with pytest.raises(ModelError, match="no earlier champion to go back to: --to takes one of 1, 3"):
        roll_back(root, None)


def test_without_a_champion_there_is_nothing_to_roll_back(root: Path) -> None:
    """Without a champion there is nothing to roll back or package."""
    with pytest.raises(ModelError, match="no champion yet"):
        roll_back(root, None)


def test_the_bundle_of_then_is_served_again_without_a_build(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = champion.package_version(root, champion.challenger(root, 1))
    make_champion(root, 1, 2)
    monkeypatch.setattr(bento, "build", lambda *_, **__: pytest.fail("nothing is to be built"))
    assert roll_back(root, None).bundle == first


def test_a_version_that_the_gate_refused_needs_force(root: Path) -> None:
    """One that was champion before does not, whatever the gate says of it now."""
    make_champion(root, 1, 3)
    for number in (1, 2):
        registry.tag_version(champion.challenger(root, number), {"gate": "failed"})
    with pytest.raises(ModelError, match=r"fer version 2 was refused by the gate .*--force"):
        roll_back(root, "v2")
    assert champion.champion(root).number == 3
    assert CliRunner().invoke(app, ["rollback", "--to", "2", "--force"]).exit_code == 0
    assert champion.champion(root).number == 2
    assert roll_back(root, "1").version.number == 1
