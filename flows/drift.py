"""The daily drift check.

Its event `fer.drift.detected` can start a training (prefect.yaml, triggers of the deployment train).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from fer_pipeline import environment
from fer_pipeline.config.params import load_params
from fer_pipeline.environment import LOG_VARIABLE
from fer_pipeline.errors import FerError
from fer_pipeline.monitoring import drift_check
from fer_pipeline.workspace import dvc, layout
from fer_pipeline.workspace.layout import PARAMS, PREDICTION_LOG
from fer_pipeline.workspace.locks import exclusive
from flows.artifacts import on_the_worker, publish
from flows.ends import LIMITS, advise

DRIFT_EVENT = "fer.drift.detected"
_FOUND = "What the drift check found"


@flow(
    name="check-drift",
    flow_run_name="drift",
    timeout_seconds=LIMITS["check-drift"],
    on_failure=[advise],
    on_crashed=[advise],
)
def check_drift(
    log: str | None = None, window_hours: float = 24.0, wait_seconds: float = 0
) -> State[drift_check.DriftCheck] | State[None]:
    """Compare recent predictions of the champion with its validation split.

    Emits the event `fer.drift.detected` on drift.

    Args:
        log: Folder that the service logs to. Left out: FER_PREDICTION_LOG of the worker, else data/predictions.
        window_hours: How far it looks back. Where predictions are too few, up to `drift.max_window_hours` of params.yaml.
        wait_seconds: How long to wait for another check.

    Returns:
        Completed with the name Drift, NoDrift or NotJudged, whose message says why and which time was looked at. Where no
        service has ever logged, it is NotJudged: the log is switched on by choice. A `FerError` becomes a failed state with its
        message.
    """
    environment.apply()
    root, until = Path.cwd(), datetime.now(UTC)
    folder = root / (log or os.environ.get(LOG_VARIABLE) or PREDICTION_LOG)
    if not folder.is_dir():
        why = f"not judged: no log of predictions in {folder}; {LOG_VARIABLE} switches it on in a service, and names it here"
        publish("fer-drift", f"# {why}", _FOUND)
        return Completed(name="NotJudged", message=why)
    processed, out = dvc.output(root, "preprocess"), dvc.output(root, "evaluate").parent / "drift"
    try:
        with exclusive(out, "check-drift", wait_seconds):
            bounds = load_params(root / PARAMS).drift
            since = until - timedelta(hours=window_hours)
            found = drift_check.check(folder, root / layout.BUNDLE, processed, out, bounds, since, until, widen=True)
    except FerError as error:
        return Failed(message=str(error), data=error)
    publish("fer-drift", f"{found.markdown()}\n\n{on_the_worker([found.page])}", _FOUND)
    if found.result.drifted:
        resource = {"prefect.resource.id": f"fer.model.{found.info.fingerprint}", "prefect.resource.name": found.info.network}
        emit_event(DRIFT_EVENT, resource=resource, payload={"verdict": found.result.verdict, "page": str(found.page)})
    name = "Drift" if found.result.drifted else "NoDrift" if found.result.judged else "NotJudged"
    return Completed(name=name, message=found.message, data=found)
