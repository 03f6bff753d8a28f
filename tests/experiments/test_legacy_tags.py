"""Versions tagged by an earlier release: they are read, rolled back to, and tagged anew under today's names."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from fer_pipeline.experiments import registry
from fer_pipeline.experiments.legacy_tags import current_tags, stored_keys
from fer_pipeline.promotion import champion, gate
from fer_pipeline.promotion.rollback import roll_back


@pytest.fixture
def earlier(registered: Path) -> Path:
    """A registry as an earlier release left it: 1 and 2 were champion, 3 was rolled back, 2 is champion now."""
    client = MlflowClient()
    for number, tags in {
        "1": {"crowned": "2026-01-01T00:00:00+00:00"},
        "2": {"crowned": "2026-02-01T00:00:00+00:00", "gate": "overtaken"},
        "3": {"crowned": "2026-03-01T00:00:00+00:00", "rolled_back": "2026-03-02T00:00:00+00:00"},
    }.items():
        for key, value in tags.items():
            client.set_model_version_tag("fer", number, key, value)
    client.set_registered_model_alias("fer", "champion", "2")
    return registered


def stored_tags(number: int) -> dict[str, str]:
    return dict(MlflowClient().get_model_version("fer", str(number)).tags)


def test_old_tags_are_read_under_todays_names(earlier: Path) -> None:
    second, third = registry.find("fer", "2"), registry.find("fer", "3")
    assert second.tags["promoted_at"] == "2026-02-01T00:00:00+00:00"
    assert second.tags["gate"] == "superseded"
    assert third.tags["rolled_back_at"] == "2026-03-02T00:00:00+00:00"
    assert not {"crowned", "rolled_back"} & (second.tags.keys() | third.tags.keys())


def test_a_champion_of_an_earlier_release_can_be_rolled_back_to(earlier: Path) -> None:
    assert roll_back(earlier, None).version.number == 1
    assert champion.champion(earlier).number == 1
    assert "rolled_back_at" in stored_tags(2)
    assert "promoted_at" in stored_tags(1)


def test_what_an_earlier_release_rolled_back_is_not_promoted(earlier: Path) -> None:
    decision = gate.evaluate_challenger(earlier, registry.find("fer", "3")).decision
    assert not decision.promoted
    assert "rolled back on 2026-03-02" in decision.markdown()


def test_naming_a_version_rolled_back_clears_its_old_tag(earlier: Path) -> None:
    """To name a version rolled back earlier clears its old tag."""
    assert roll_back(earlier, 3).version.number == 3
    assert "rolled_back" not in stored_tags(3)
    assert "rolled_back_at" not in registry.find("fer", "3").tags


def test_a_tag_under_both_keys_has_its_newer_value() -> None:
    assert current_tags({"promoted_at": "b", "crowned": "a"}) == {"promoted_at": "b"}
    assert current_tags({"gate": "passed", "network": "overtaken"}) == {"gate": "passed", "network": "overtaken"}
    assert stored_keys("promoted_at") == ("promoted_at", "crowned")
    assert stored_keys("gate") == ("gate",)
