"""The search for a better recipe, for a schedule or a machine that has time."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fer_pipeline import environment
from fer_pipeline.errors import FerError
from fer_pipeline.experiments.search.result import SearchResult
from flows import tasks
from flows.ends import LIMITS, advise


@flow(
    name="tune-recipe",
    flow_run_name="tune",
    timeout_seconds=LIMITS["tune-recipe"],
    on_failure=[advise],
    on_crashed=[advise],
)
def tune_recipe(trials: int | None = None, wait_seconds: float = 0) -> SearchResult | State[SearchResult]:
    """Run trials of a search until the number asked for have ended.

    Their number is `tune.trials` by default, those of earlier runs of the same search included. It reads the processed table of
    the last run and changes no recipe: `fer profile save NAME --from-tuning` does. A `FerError` becomes a failed state with its
    message: `WorkspaceBusyError` where another search runs for longer than `wait_seconds`.
    """
    environment.apply()
    try:
        result = tasks.search(Path.cwd(), trials, wait_seconds)
    except FerError as error:
        return Failed(message=str(error), data=error)
    tasks.publish_search(result)
    return result
