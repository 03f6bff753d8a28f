"""The search for a better recipe, for a schedule or a machine that has time."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fer_pipeline import environment
from fer_pipeline.config.params import load_params
from fer_pipeline.errors import FerError
from fer_pipeline.experiments.search.result import SearchResult
from fer_pipeline.workspace import dvc, layout
from fer_pipeline.workspace.locks import exclusive
from flows import tasks
from flows.artifacts import publish
from flows.ends import LIMITS, advise
from flows.run_variable import named_flow_run


@task(task_run_name="search", **tasks.DATABASE_RETRIES)
def search(root: Path, trials: int | None, wait_seconds: float) -> SearchResult:
    """Search for a recipe; a search that was killed goes on."""
    from fer_pipeline.experiments.search import tune  # Keras takes ten seconds to import

    folder, report = root / layout.TUNING, dvc.output(root, "evaluate").parent / "tuning"
    processed, soft_labels = dvc.output(root, "preprocess"), root / layout.SOFT_LABELS
    logger = get_run_logger()
    with exclusive(folder, "tune-recipe", wait_seconds), named_flow_run():
        recipe = load_params(root / layout.PARAMS)
        return tune.tune(processed, folder, report, recipe, soft_labels, trials=trials, on_progress=logger.info)


@task(task_run_name="best trial")
def publish_search(result: SearchResult) -> None:
    """Store the best trial as an artifact of the flow run."""
    rows = [f"| `{key}` | {value} |" for key, value in result.values.items()]
    text = "\n".join([result.comment, "", "| key of train | value |", "|---|---|", *rows])
    publish("fer-search", text, "The best recipe that the search has found")


@flow(
    name="tune-recipe",
    flow_run_name="tune",
    timeout_seconds=LIMITS["tune-recipe"],
    on_failure=[advise],
    on_crashed=[advise],
)
def tune_recipe(trials: int | None = None, wait_seconds: float = 0) -> SearchResult | State[SearchResult]:
    """Run trials of a search until the number asked for have ended.

    It reads the processed table of the last run and changes no recipe: `fer profile save NAME --from-tuning` does.

    Args:
        trials: How many, those of earlier runs of the same search included. Left out: `tune.trials` of params.yaml.
        wait_seconds: How long to wait for another search.

    Returns:
        The best trial. A `FerError` becomes a failed state with its message: `WorkspaceBusyError` where another search runs for
        longer.
    """
    environment.apply()
    try:
        result = search(Path.cwd(), trials, wait_seconds)
    except FerError as error:
        return Failed(message=str(error), data=error)
    publish_search(result)
    return result
