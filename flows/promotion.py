"""The flow between registry and bundle: gate, package, alias champion."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fer_pipeline import lifecycle, settings
from fer_pipeline.errors import FerError
from fer_pipeline.modeling.promotion import Decision
from fer_pipeline.modeling.registry import Version
from fer_pipeline.workspace import RUN_LOCK, exclusive
from flows import tasks
from flows.ends import LIMITS, advise


@flow(
    name="promote-challenger",
    flow_run_name="promote",
    timeout_seconds=LIMITS["promote-challenger"],
    on_failure=[advise],
    on_crashed=[advise],
)
def promote_challenger(version: int | None = None, wait_seconds: float = 0) -> Decision | State[Decision]:
    """Judges a registered version (the challenger by default); when it wins, packages it and makes it champion.

    The bundle is tried before the alias moves, so that a champion can always be served. A `FerError` becomes a failed state
    with its message.
    """
    settings.apply()
    root = Path.cwd()
    try:
        with exclusive(root / RUN_LOCK, "promote-challenger", wait_seconds):
            return promote_version(root, lifecycle.challenger(root, version))
    except FerError as error:
        return Failed(message=str(error), data=error)


def promote_version(root: Path, challenger: Version) -> Decision:
    """Gate, bundle and alias of one version, as tasks of the flow that calls it."""
    decision = tasks.judge(root, challenger)
    if decision.promoted:
        tasks.package(root, challenger)  # built and tried before the alias moves: a champion can always be served
        tasks.crown(root, challenger, decision.champion)
    return decision
