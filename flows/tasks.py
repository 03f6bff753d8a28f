"""Prefect tasks: each wraps one call of the library.

Retries only where another process can hold a resource (MLflow's database).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from fer_pipeline.errors import FerError, ToolUnavailableError
from fer_pipeline.experiments.registry import Version
from fer_pipeline.promotion import champion, gate
from fer_pipeline.promotion.decision import Decision, SmokeTest
from fer_pipeline.workspace import dvc
from flows.artifacts import show_decision, show_summary
from flows.ends import drop_expected_traces
from flows.progress import logged_output
from flows.run_variable import named_flow_run


def is_passing(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a failure may be gone a little later: another process held a resource."""
    return isinstance(state.result(raise_on_failure=False), ToolUnavailableError)


DATABASE_RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [5, 20], "retry_condition_fn": is_passing}


@task(task_run_name="{stage}")
def run_stage(root: Path, stage: str) -> State[dvc.Outcome]:
    """Run one DVC stage.

    Ends as Completed, as Cached where nothing it depends on has changed or DVC restored its outputs, or as Failed with its
    message. What it prints is logged, and so is the stack trace of an error that no code expects.
    """
    logger = get_run_logger()
    try:
        with named_flow_run(), logged_output(logger):
            outcome = dvc.reproduce(root, stage)
    except FerError as error:
        drop_expected_traces()
        for note in getattr(error, "__notes__", ()):
            logger.error(note)
        return Failed(message=str(error), data=error)
    name = "Completed" if outcome is dvc.Outcome.RAN else "Cached"
    return Completed(name=name, data=outcome, message=outcome.value)


@task(task_run_name="register", **DATABASE_RETRIES)
def register(root: Path) -> State[Version]:
    """Register the exported model as challenger.

    Cached where this very model is registered already.
    """
    version, new = champion.register_export(root)
    return Completed(name="Completed" if new else "Cached", data=version, message=str(version))


@task(task_run_name="gate", **DATABASE_RETRIES)
def evaluate_challenger(root: Path, challenger: Version) -> gate.GateResult:
    """Evaluate challenger and champion on the same rows.

    The result is not yet published.
    """
    return gate.evaluate_challenger(root, challenger)


@task(task_run_name="package")
def package(root: Path, version: Version) -> str:
    """Build the version's bundle and ask it for one picture."""
    return champion.package_version(root, version)


@task(task_run_name="decision", **DATABASE_RETRIES)
def publish_decision(root: Path, challenger: Version, result: gate.GateResult, smoke_test: SmokeTest | None) -> Decision:
    """Store the decision with the version, on its page, and as an artifact."""
    decision = gate.publish(root, challenger, result, smoke_test)
    show_decision(root, challenger, decision)
    return decision


@task(task_run_name="set champion", **DATABASE_RETRIES)
def set_champion(root: Path, version: Version, over: str | None) -> None:
    """Move the alias champion, and data/bundle, to the version.

    Raises `WorkspaceBusyError` where another than `over` has become champion meanwhile.
    """
    champion.set_champion(root, version, over)


@task(task_run_name="summary")
def publish_summary(root: Path, version: Version, markdown: str) -> None:
    """Store summary, model card and checks of the data as artifacts of the flow run."""
    show_summary(root, version, markdown)
