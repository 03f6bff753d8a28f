from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.server import models, schemas
from prefect.server.database import provide_database_interface
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

from fer_pipeline import environment
from flows import automations

ROOT = Path(__file__).parents[2]
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((ROOT / "flows" / "automations.yaml").read_text())["automations"]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda automation: automation["name"])
def test_prefect_accepts_the_automation(automation: dict[str, Any]) -> None:
    assert AutomationCore.model_validate(automation).name == automation["name"]


def test_applied_twice_there_is_one_of_each() -> None:
    """What `prefect automation create` made before is changed, its copy deleted; a paused one stays paused."""
    stored: dict[int, Automation] = {}

    def put(number: int, automation: AutomationCore) -> None:
        stored[number] = Automation.model_validate({**automation.model_dump(exclude_none=True), "id": UUID(int=number)})

    server = SimpleNamespace(
        read_automations_by_name=lambda name: [one for one in stored.values() if one.name == name],
        create_automation=lambda automation: put(len(stored), automation),
        update_automation=lambda known, automation: put(known.int, automation),
        delete_automation=lambda known: stored.pop(known.int),
    )
    client = cast(SyncPrefectClient, server)
    assert automations.apply(client) == ["mark killed runs as crashed: created"]
    old = stored[0].model_copy(update={"description": "of an earlier release", "enabled": False})
    put(0, old)
    put(1, old)
    assert automations.apply(client) == ["mark killed runs as crashed: updated, 1 copies deleted"]
    assert automations.apply(client) == ["mark killed runs as crashed: updated"]
    assert [(one.description, one.enabled) for one in stored.values()] == [(AUTOMATIONS[0]["description"], False)]


def test_a_run_counts_as_killed_after_several_heartbeats() -> None:
    """A run counts as killed only after several missed heartbeats."""
    trigger = next(a["trigger"] for a in AUTOMATIONS if a["name"] == "mark killed runs as crashed")
    assert trigger["within"] >= 3 * int(environment.DEFAULTS["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])


def test_every_deployment_has_the_tag_of_the_automations() -> None:
    """Every deployment carries the tag that the automations look for."""
    wanted = {a["trigger"]["match_related"]["prefect.resource.id"] for a in AUTOMATIONS if "match_related" in a["trigger"]}
    assert wanted == {"prefect.tag.fer"}
    assert all("fer" in deployment["tags"] for deployment in DEPLOYMENTS)


def test_the_server_plans_the_runs_of_each_schedule(tmp_path: Path) -> None:
    """With the SQLAlchemy of the lock: with 2.1 the scheduler of Prefect 3.8 fails, and says so in its log alone."""
    schedules = [schedule for deployment in DEPLOYMENTS for schedule in deployment.get("schedules", [])]
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{tmp_path}/prefect.db"}):
        planned = asyncio.run(_planned(schedules))
    assert len(planned) == 3
    assert all(planned)


async def _planned(schedules: list[dict[str, Any]]) -> list[int]:
    """How many runs Prefect's server plans for a deployment with each of these schedules."""
    database = provide_database_interface()
    await database.create_db()
    found = []
    async with database.session_context(begin_transaction=True) as session:
        flow = await models.flows.create_flow(session, schemas.core.Flow(name="any"))
        for number, schedule in enumerate(schedules):
            made = schemas.core.DeploymentSchedule(schedule=schemas.schedules.CronSchedule(**schedule), active=True)
            deployment = schemas.core.Deployment(name=f"d{number}", flow_id=flow.id, schedules=[made])
            stored = await models.deployments.create_deployment(session, deployment)
            assert stored is not None
            found.append(len(await models.deployments.schedule_runs(session, stored.id)))
    return found
