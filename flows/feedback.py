"""Flows of feedback: events of accepted corrections, daily deletion.

Enough events `fer.feedback.accepted` start a training (prefect.yaml, triggers of the deployment train).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import Event, Resource, get_events_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Failed

from fer_pipeline import environment
from fer_pipeline.errors import FerError, ToolUnavailableError
from fer_pipeline.feedback import erasure, versions
from fer_pipeline.feedback.corrections import INBOX_VARIABLE, Corrections
from fer_pipeline.workspace import layout
from fer_pipeline.workspace.layout import FEEDBACK_INBOX, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive
from flows.artifacts import publish
from flows.ends import LIMITS, advise

ACCEPTED_EVENT = "fer.feedback.accepted"


@flow(
    name="purge-feedback",
    flow_run_name="purge",
    timeout_seconds=LIMITS["purge-feedback"],
    on_failure=[advise],
    on_crashed=[advise],
)
def purge_feedback(
    inbox: str | None = None, wait_seconds: float = 0
) -> versions.FeedbackVersion | State[versions.FeedbackVersion]:
    """Delete corrections that have expired or were withdrawn.

    Also where no service runs, and withdrawn ones after acceptance.

    Args:
        inbox: Folder of corrections. Left out: FER_FEEDBACK of the worker, else data/feedback-inbox.
        wait_seconds: How long to wait for another run of the workspace; what has expired does not wait.

    Returns:
        The version of the accepted corrections that are left. A `FerError` becomes a failed state with its message.
    """
    environment.apply()
    root = Path.cwd()
    try:
        corrections = Corrections(root / (inbox or os.environ.get(INBOX_VARIABLE) or FEEDBACK_INBOX))
        expired = corrections.expire(datetime.now(UTC))
        erasure.remove_old_page(root)
        with exclusive(root / RUN_LOCK, "purge-feedback", wait_seconds):
            done = versions.purge(corrections, root)
    except FerError as error:
        return Failed(message=str(error), data=error)
    text = (
        f"{expired} corrections that waited have expired. {len(done.ids)} accepted ones were taken back and are out of "
        f"{layout.FEEDBACK}, which holds {done.total}, version {done.version}."
    )
    if done.ids:
        text += (
            " Tables with their faces are out of DVC's cache; the next training takes them out of "
            f"{layout.RAW}, {layout.PROCESSED} and the quarantine, then `dvc gc --workspace --cloud` out of remotes."
        )
    publish("fer-feedback", text, "What the deletion of feedback has done")
    return done


def announce(ids: Sequence[str], version: str) -> bool:
    """Emit one event for each accepted correction, so that a trigger can count them.

    False where no Prefect server is set. Raises `ToolUnavailableError` where there is one that cannot be reached.
    """
    if not PREFECT_API_URL.value():
        return False
    try:
        asyncio.run(_emit(ids, version))
    except Exception as error:  # whatever the websocket stumbles over
        raise ToolUnavailableError(
            f"the corrections are accepted, but {PREFECT_API_URL.value()} could not be told ({error}): start the training with "
            "`prefect deployment run train-champion/train`, or `fer run`"
        ) from error
    return True


async def _emit(ids: Sequence[str], version: str) -> None:
    async with get_events_client(reconnection_attempts=2, checkpoint_every=1) as client:
        for one in ids:
            resource = Resource({"prefect.resource.id": f"fer.feedback.{one}"})
            await client.emit(Event(event=ACCEPTED_EVENT, resource=resource, payload={"version": version}))
