"""The flow between registry and bundle: gate, package, alias champion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fer_pipeline import environment
from fer_pipeline.errors import FerError, ModelError, WorkspaceBusyError
from fer_pipeline.experiments.registry import Version
from fer_pipeline.promotion import champion
from fer_pipeline.promotion.decision import Decision, SmokeTest
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive
from flows import tasks
from flows.ends import LIMITS, advise


@flow(
    name="promote-challenger",
    flow_run_name="promote",
    timeout_seconds=LIMITS["promote-challenger"],
    on_failure=[advise],
    on_crashed=[advise],
)
def promote_challenger(version: int | str | None = None, wait_seconds: float = 0) -> Decision | State[Decision]:
    """Evaluate a registered version; when it passes the gate, make it champion.

    The bundle is tried before the decision, so that a champion can always be served.

    Args:
        version: Number, alias or run id of the version. Left out: the challenger.
        wait_seconds: How long to wait for another run of the workspace.

    Returns:
        The decision. A `FerError` becomes a failed state with its message.
    """
    environment.apply()
    root = Path.cwd()
    try:
        with exclusive(root / RUN_LOCK, "promote-challenger", wait_seconds):
            return promote_version(root, champion.challenger(root, version))
    except FerError as error:
        return Failed(message=str(error), data=error)


def promote_version(root: Path, challenger: Version) -> Decision:
    """Gate, bundle and alias of one version, as tasks of the flow that calls it.

    A bundle that does not answer is a check that failed: the task `package` fails, and the flow goes on to the decision.
    Where another becomes champion first, the decision is published again as superseded, and `WorkspaceBusyError` raised.
    """
    result = tasks.evaluate_challenger(root, challenger)
    smoke_test = _smoke_test(tasks.package(root, challenger, return_state=True)) if result.decision.promoted else None
    decision = tasks.publish_decision(root, challenger, result, smoke_test)
    if decision.promoted:
        try:
            tasks.set_champion(root, challenger, decision.champion)
        except WorkspaceBusyError as error:
            tasks.publish_decision(root, challenger, replace(result, superseded=str(error)), smoke_test)
            raise
    return decision


def _smoke_test(packaged: State[str]) -> SmokeTest:
    """Return how packaging ended.

    Raises what it raised, unless that is a `ModelError`, which is about the bundle.
    """
    try:
        return SmokeTest(packaged.result())
    except ModelError as error:
        return SmokeTest(None, str(error))
