"""Environment defaults: no telemetry, servers on loopback, readable logs.

A variable that the user has set wins. Proxies are not asked for loopback, where the servers of this machine are.
"""

from __future__ import annotations

import os
import pwd
from types import MappingProxyType
from typing import Final

LOG_VARIABLE: Final = "FER_PREDICTION_LOG"
"""Names the folder for the log of predictions: of the service, the drift check and its flow."""

DEFAULTS: Final = MappingProxyType(
    {
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",  # a minute, in which a server starts again; its own 7 are four minutes of silence
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        # A model names its few requirements; the lock of the whole project, where MLflow finds it, would take their place.
        "MLFLOW_LOG_UV_FILES": "false",
        "MLFLOW_UV_AUTO_DETECT": "false",
        "ORT_DISABLE_TELEMETRY": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # of runs of deployments; flows/automations.yaml waits for ten of them
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # In memory, its default, a server that starts again has lost who holds a deployment's slot, and ends those runs.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # the first start makes the database
        "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",  # and the next: `prefect deployment run --watch` shows the log
        "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
        "PYTHONWARNINGS": "ignore",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
)

NO_HOME: Final = "/nonexistent"
"""The HOME of a user without one, as Debian has it in its list of users: MLflow cannot be imported where there is none."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def apply() -> None:
    """Set the variables of `DEFAULTS` that are not set; loopback joins NO_PROXY.

    USER and HOME are set for a user without a name, as of a container that was started with a number. Entry points call it before
    they import the tools.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    _bypass_proxies()
    if not has_user_entry():
        os.environ.setdefault("USER", f"uid-{os.getuid()}")  # the tools ask getpass.getuser(), which fails without
        os.environ.setdefault("HOME", NO_HOME)


def has_user_entry() -> bool:
    """Return whether the list of users knows this user."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _bypass_proxies() -> None:
    # A proxy answers for its own 127.0.0.1, and Prefect would wait two minutes for the server that it has started here.
    named = [part.strip() for name in ("no_proxy", "NO_PROXY") for part in os.environ.get(name, "").split(",")]
    if "*" not in named:  # httpx knows the asterisk alone, not in a list
        hosts = ",".join(dict.fromkeys(part for part in (*named, *LOOPBACK) if part))
        os.environ.update(no_proxy=hosts, NO_PROXY=hosts)  # programs differ in which of the two they read
