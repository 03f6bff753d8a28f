"""The champion's alias, bundle and date."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from fer_pipeline.errors import FerError, ModelError, WorkspaceBusyError
from fer_pipeline.experiments import registry
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion import champion
from fer_pipeline.promotion.bundle import bento
from fer_pipeline.workspace import layout
from tests.promotion.steps import decide_on, make_champion


@pytest.fixture
def root(registered: Path) -> Path:
    return registered


def test_setting_the_champion_again_keeps_its_date(root: Path) -> None:
    """Crowning the champion again does not make it younger."""
    make_champion(root, 2)
    since = champion.champion(root).tags["promoted_at"]
    make_champion(root, 2)
    assert champion.champion(root).tags["promoted_at"] == since


def test_the_challenger_is_the_newest_unless_one_is_named(root: Path) -> None:
    """The challenger is the newest version unless one is named."""
    assert champion.challenger(root, None).number == 3
    assert champion.challenger(root, 1).number == 1
    with pytest.raises(ModelError, match=r"no version or alias '7' \(there is: 1, 2, 3, challenger\)"):
        champion.challenger(root, 7)


def test_only_a_bundle_that_passed_is_noted_as_tested(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a bundle that passed its smoke test is noted as tested."""
    noted: list[str | None] = []
    build = bento.build

    def killed(*_: object, tested: str | None) -> str:
        noted.append(tested)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bento, "build", killed)
        with pytest.raises(KeyboardInterrupt):
            champion.package_version(root, champion.challenger(root, 1))
    assert "bundle" not in champion.challenger(root, 1).tags
    monkeypatch.setattr(bento, "build", lambda *a, tested: noted.append(tested) or build(*a, tested=tested))
    tag = champion.package_version(root, champion.challenger(root, 1))
    champion.package_version(root, champion.challenger(root, 1))
    assert noted == [None, None, tag]


def test_of_two_promotions_at_once_one_wins(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two promotions at the same time one wins and the other is told."""
    make_champion(root, 1)
    both_decided, move = threading.Barrier(2), registry.set_alias
    outcomes: dict[int, FerError | None] = {}

    def slow_move(version: registry.Version, alias: str) -> None:
        time.sleep(0.3)  # long enough for the other one to look at the champion, if it could
        move(version, alias)

    def promote(number: int) -> None:
        version = champion.challenger(root, number)
        both_decided.wait(timeout=60)
        try:
            champion.set_champion(root, version, "fer version 1")
            outcomes[number] = None
        except FerError as error:
            outcomes[number] = error

    monkeypatch.setattr(registry, "set_alias", slow_move)
    threads = [threading.Thread(target=promote, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    (winner,) = [number for number, error in outcomes.items() if error is None]
    (loser,) = {2, 3} - {winner}
    assert isinstance(outcomes[loser], WorkspaceBusyError)
    assert f"fer promote --version {loser}" in str(outcomes[loser])
    assert champion.champion(root).number == winner
    assert ModelInfo.read(root / layout.BUNDLE).temperature == float(winner)
    assert "promoted_at" not in champion.challenger(root, loser).tags


def test_of_two_workspaces_on_one_server_one_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two workspaces that set the champion of one server at once, one is refused."""
    move = registry.set_alias

    def moved_by_both(version: registry.Version, alias: str) -> None:
        move(version, alias)
        move(champion.challenger(root, 3), alias)  # by the other one, whose lock is another

    make_champion(root, 1)
    monkeypatch.setattr(registry, "set_alias", moved_by_both)
    with pytest.raises(WorkspaceBusyError, match=r"fer version 3 became champion .* `fer promote --version 2`"):
        make_champion(root, 2)
    assert "promoted_at" not in champion.challenger(root, 2).tags


def test_a_promotion_that_was_cut_short_can_be_finished(root: Path) -> None:
    registry.set_alias(champion.challenger(root, 2), "champion")  # the alias moved, then the process died
    decision = decide_on(root, champion.challenger(root, 2))
    champion.set_champion(root, champion.challenger(root, 2), decision.champion)  # as `fer promote` does
    assert ModelInfo.read(root / layout.BUNDLE).temperature == 2.0
    assert "promoted_at" in champion.champion(root).tags
