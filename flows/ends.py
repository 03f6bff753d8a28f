"""Time limits of flows, advice after a failure, and its trace in the log.

The limits are not for slow machines but for runs that hang, and would keep the only slot of their deployment; each is many times
what the flow takes on two cores. A run that is marked as crashed from outside (flows/automations.yaml) has its advice there.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger

from fer_pipeline.errors import FerError
from fer_pipeline.workspace.layout import FEEDBACK

_HOUR: Final = 3600.0
LIMITS: Final = {
    "train-champion": 48 * _HOUR,  # profile cpu takes one hour; an ensemble with its teachers a night
    "promote-challenger": 2 * _HOUR,  # measuring and packaging take a minute or two
    "tune-recipe": 14 * 24 * _HOUR,  # as long as its trials take; a search that was stopped goes on
    "score-pictures": 14 * 24 * _HOUR,  # of very large sets; what is scored is not scored again
    "check-drift": _HOUR,  # it takes a minute
    "purge-feedback": 4 * _HOUR,  # it waits up to two for a training to end
}
"""Seconds by the name of the flow, waiting for the workspace included."""

_NEXT: Final = {
    "train-champion": "It goes on after the last finished stage, a training after its last finished epoch",
    "promote-challenger": "The champion is as it was, or already the new one: `fer models list` says which",
    "tune-recipe": "Finished trials count",
    "score-pictures": "With the same output it goes on after the last finished part",
    "check-drift": "`fer monitor drift` on the machine of the worker says the same at once",
    "purge-feedback": f"What people took back is still in {FEEDBACK} until it has run: `fer feedback purge` does it at once",
}

KEY: Final = "fer-next"
"""Key of the artifact of a run that did not end well."""


def advise(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Log what happened and what to do next, and store it as an artifact.

    A hook for failures and crashes.
    """
    drop_expected_traces()
    text = advice(flow.name, state)
    flow_run_logger(flow_run, flow).error(text)
    markdown = f"# {flow.name}: {state.name}\n\n{text}\n"
    with get_client(sync_client=True) as client:  # not `create_markdown_artifact`: a hook runs outside of the run's context
        client.create_artifact(ArtifactCreate(key=KEY, type="markdown", data=markdown, flow_run_id=flow_run.id))


def advice(flow: str, state: State[Any]) -> str:
    """What happened and what to do next, in a few sentences."""
    if state.name == "TimedOut":
        happened = f"It ran for longer than {LIMITS[flow] / _HOUR:g} hours and was ended: look where its log stands still."
    elif state.is_crashed():
        causes = "by a person, a shutdown, for want of memory (`dmesg`), or since Prefect's server was away for minutes"
        happened = f"It was ended from outside ({state.message}): {causes}."
    else:
        happened = state.message or "It failed without a message: see its log"
        happened += "" if happened.endswith(".") else "."
    return f"{happened} {_NEXT[flow]}. When the cause is mended, start it again with the same parameters, or wait for its turn."


def drop_expected_traces() -> None:
    """Keep stack traces of expected errors out of the logs of runs.

    Prefect logs a trace with each failed task, also where the task has returned its state and raised nothing ("NoneType: None"),
    and calls the error of a failed flow unexpected. The message of a `FerError` says all; what no code expects keeps its trace.
    """
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(_without_expected_trace)


def _without_expected_trace(record: logging.LogRecord) -> bool:
    if record.exc_info and (record.exc_info[0] is None or issubclass(record.exc_info[0], FerError)):
        record.exc_info = None
        return "unexpected exception" not in record.getMessage()
    return True
