"""The main job: raw faces to a packaged champion."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed
from pydantic import Field

from fer_pipeline import environment
from fer_pipeline.config import editing
from fer_pipeline.config.params import load_params
from fer_pipeline.errors import FerError, ParamsError
from fer_pipeline.experiments import tracked_stages
from fer_pipeline.promotion.summary import Summary, summarise
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import PARAMS, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive
from flows import tasks
from flows.ends import LIMITS, advise
from flows.progress import step
from flows.promotion import promote_version


def _offer_profiles(schema: dict[str, Any]) -> None:
    """Make the profiles of the workspace the choices of a parameter.

    Prefect asks for them where this module is imported: without a workspace, or with faulty parameters, there are none.
    """
    with suppress(ParamsError):
        schema["enum"] = list(load_params(Path.cwd() / PARAMS).profiles)


Profile = Annotated[str, Field(json_schema_extra=_offer_profiles)]


@flow(
    name="train-champion",
    flow_run_name="train",
    timeout_seconds=LIMITS["train-champion"],
    on_failure=[advise],
    on_crashed=[advise],
)
def train_champion(
    data: str | None = None, votes: str | None = None, profile: Profile | None = None, wait_seconds: float = 0
) -> Summary | State[Summary]:
    """Run every stage, register the model, and promote it if it passes the gate.

    Args:
        data: Path of the data on the worker's machine, or `synthetic`. Left out: the source in params.yaml.
        votes: FER+ votes of the data, fer2013new.csv. Left out: none.
        profile: Recipe of profiles.yaml to train by. Left out: the section `train` of params.yaml as it is.
        wait_seconds: How long to wait for another run of the workspace.

    Returns:
        The summary. A `FerError` becomes a failed state with its message: `WorkspaceBusyError` where another run holds the
        workspace for longer.
    """
    environment.apply()
    root = Path.cwd()
    try:
        with exclusive(root / RUN_LOCK, "train-champion", wait_seconds):
            known = load_params(root / PARAMS)  # a fault in it must not leave the data switched
            if profile is not None:
                known.recipe(profile)
            if votes is not None and data is None:
                raise ParamsError(f"votes {votes} were given without data: name the data they belong to, too (--data, DATA=)")
            if data is not None:
                tracked_stages.use_data(root, Path(data), Path(votes) if votes else None)
            if profile is not None:
                editing.use_profile(root / PARAMS, profile)
            return _run(root)
    except FerError as error:
        return Failed(message=str(error), data=error)


def _run(root: Path) -> Summary:
    cached = [stage for stage in dvc.stage_names(root) if _run_stage(root, stage) is not dvc.Outcome.RAN]
    with step(root, "register"):
        challenger = tasks.register(root).result()
    with step(root, "promote") as now:
        decision = promote_version(root, challenger)
        summary = summarise(root, challenger, decision, cached)
        tasks.publish_summary(root, challenger, summary.markdown())
        now.outcome = "promoted" if decision.promoted else "not promoted"
    return summary


def _run_stage(root: Path, stage: str) -> dvc.Outcome:
    with step(root, stage) as now:
        outcome: dvc.Outcome = tasks.run_stage(root, stage).result()
        now.outcome = "done" if outcome is dvc.Outcome.RAN else outcome.name.lower()
    return outcome
