from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore

from fer_pipeline import settings

ROOT = Path(__file__).parents[1]
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((ROOT / "flows" / "automations.yaml").read_text())["automations"]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda automation: automation["name"])
def test_prefect_accepts_the_automation(automation: dict[str, Any]) -> None:
    assert AutomationCore.model_validate(automation).name == automation["name"]


def test_a_run_counts_as_killed_only_after_several_missed_heartbeats() -> None:
    trigger = next(a["trigger"] for a in AUTOMATIONS if a["name"] == "mark killed runs as crashed")
    assert trigger["within"] >= 3 * int(settings.DEFAULTS["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])


def test_every_deployment_carries_the_tag_that_the_automations_look_for() -> None:
    wanted = {a["trigger"]["match_related"]["prefect.resource.id"] for a in AUTOMATIONS if "match_related" in a["trigger"]}
    assert wanted == {"prefect.tag.fer"}
    assert all("fer" in deployment["tags"] for deployment in DEPLOYMENTS)
