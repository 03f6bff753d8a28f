"""Load and memory of the machine beside the curves of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from fer_pipeline.experiments.mlflow_store import clear_errors

_ASKED: Final[Any] = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING  # untyped
_MONITOR: Final[Any] = SystemMetricsMonitor


@contextmanager
def system_metrics(run_id: str) -> Iterator[None]:
    """Log load and memory of the machine in the block, where MLflow is asked to.

    That is by MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=true; they are named system/.
    """
    if not _ASKED.get():
        yield
        return
    with clear_errors():
        monitor = _MONITOR(run_id, resume_logging=True)
        monitor.start()
    try:
        yield
    finally:
        monitor.finish()
