"""Name the flow run in the environment, for the MLflow runs that it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.runtime import flow_run

from fer_pipeline.experiments.tracking.context import FLOW_RUN_VARIABLE


@contextmanager
def named_flow_run() -> Iterator[None]:
    """Set `FLOW_RUN_VARIABLE` while the block runs inside of a flow."""
    run_id = flow_run.id
    if run_id:
        os.environ[FLOW_RUN_VARIABLE] = str(run_id)
    try:
        yield
    finally:
        os.environ.pop(FLOW_RUN_VARIABLE, None)
