"""What the Prefect server knows of runs, asked over HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx

from fer_pipeline.errors import ToolUnavailableError

ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class FlowRun:
    """Flow run of Prefect.

    `state` is the name of its state, `kind` the type, `creator` who made it ("" where Prefect does not say).
    """

    id: str
    state: str
    kind: str
    message: str
    creator: str
    seconds: float


class PrefectApi:
    """The server at an address that ends in /api."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=address, timeout=30)

    def runs(self, deployment: str) -> list[FlowRun]:
        """Return the runs of a deployment ("train-champion/train"), newest first.

        Runs that a schedule has only planned are left out.
        """
        name = deployment.partition("/")[2]
        found = self._post("/flow_runs/filter", {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_DESC"})
        return [_flow_run(entry) for entry in found if not entry["auto_scheduled"]]

    def wait_for_plan(self, deployment: str, seconds: float) -> int:
        """How many runs the schedule of a deployment has planned; 0 where none is in time."""
        body = {"deployments": {"name": {"any_": [deployment.partition("/")[2]]}}}
        end = time.monotonic() + seconds
        while True:
            planned = sum(bool(entry["auto_scheduled"]) for entry in self._post("/flow_runs/filter", body))
            if planned or time.monotonic() > end:
                return planned
            time.sleep(1)

    def events(self, name: str) -> int:
        """How many events of this name have come in."""
        answer = self._post("/events/filter", {"filter": {"event": {"name": [name]}}})
        return int(answer["total"])

    def wait_for_events(self, name: str, seconds: float) -> int:
        """Return the number of events once there is one, 0 after the time limit.

        The server stores events every few seconds.
        """
        end = time.monotonic() + seconds
        while not (found := self.events(name)) and time.monotonic() < end:
            time.sleep(1)
        return found

    def wait_for_new_run(self, deployment: str, known: set[str], seconds: float) -> FlowRun:
        """Return the first run of a deployment that is not among the known ids.

        Raises `ToolUnavailableError` if none comes.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for run in self.runs(deployment):
                if run.id not in known:
                    return run
            time.sleep(1)
        raise ToolUnavailableError(f"no new run of {deployment} within {seconds:.0f} s: see prefect.log and worker.log")

    def wait_for_end(self, deployment: str, run: str, seconds: float) -> FlowRun:
        """Return the run once it has ended.

        Raises `ToolUnavailableError` where it does not in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = next(one for one in self.runs(deployment) if one.id == run)
            if found.kind in ENDS:
                return found
            time.sleep(2)
        raise ToolUnavailableError(f"run {run} of {deployment} has not ended within {seconds:.0f} s: see worker.log")

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()


def _flow_run(entry: dict[str, Any]) -> FlowRun:
    state = entry["state"] or {}
    creator = (entry["created_by"] or {}).get("type") or ""
    return FlowRun(
        entry["id"], state.get("name", ""), state.get("type", ""), state.get("message") or "", creator, entry["total_run_time"]
    )
