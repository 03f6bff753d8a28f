"""Admission control: token, rate, queue and concurrency limits of a worker.

What is too much is refused with 429. Limits count per worker process. Of the places for uploads, waiting, streams, files of the
model and cameras, one address may have a share only.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.requests import HTTPConnection, Request

from fer_pipeline.serving.http.places import Places, client_address
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.http.work_queue import WorkQueue
from fer_pipeline.serving.settings import Limits

T = TypeVar("T")

MAX_LISTENERS = 64
"""Event streams that may be open at the same time; each reads one small file now and then."""

MAX_DOWNLOADS = 64
"""Model files that may be sent at the same time, to pages that recognize on the device."""


class AdmissionController:
    """Admit requests up to the limits and run their work on a bounded thread pool.

    With a token, requests that give work must name it.
    """

    def __init__(self, limits: Limits, token: str | None = None) -> None:
        self.limits = limits
        self._token = token
        self._threads = anyio.CapacityLimiter(limits.parallel)
        self._camera_thread = anyio.CapacityLimiter(1)
        percent = limits.client_share_percent
        self._uploads, self._cameras = Places(limits.max_uploads, percent), Places(limits.max_cameras, percent)
        self._listeners, self._downloads = Places(MAX_LISTENERS, percent), Places(MAX_DOWNLOADS, percent)
        self._queue = WorkQueue(limits)

    @property
    def has_token(self) -> bool:
        """Whether the operator has set a token."""
        return self._token is not None

    def check_token(self, given: str | None) -> None:
        """Compare a token with the service's own.

        Raises `RefusedError` (401) where a token is needed and another one or none was given.
        """
        if self._token is not None and not hmac.compare_digest((given or "").encode(), self._token.encode()):
            raise RefusedError(401, "unauthorized", "this service needs its token: send the header `Authorization: Bearer TOKEN`")

    def upload(self, request: HTTPConnection) -> AbstractContextManager[None]:
        """Count an upload while the block runs.

        Raises `RefusedError` (429) at `max_uploads`, or at the share of the request's address.
        """
        return self._uploads.taken(client_address(request))

    def listener(self, request: HTTPConnection) -> AbstractContextManager[None]:
        """Count an event stream while the block runs.

        Raises `RefusedError` (429) at `MAX_LISTENERS`, or at the share of the request's address.
        """
        return self._listeners.taken(client_address(request))

    def download(self, request: HTTPConnection) -> AbstractContextManager[None]:
        """Count a model file that is sent while the block runs.

        Raises `RefusedError` (429) at `MAX_DOWNLOADS`, or at the share of the request's address.
        """
        return self._downloads.taken(client_address(request))

    def camera(self, session: HTTPConnection) -> AbstractContextManager[None]:
        """Count a live session while the block runs. Raises `RefusedError` (429)."""
        return self._cameras.taken(client_address(session))

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """Run `work` on a thread when it is the request's turn.

        Raises `RefusedError` (429) where too many wait already, or the turn does not come in time, and `ClientDisconnect` where
        the client leaves before.
        """
        async with self._queue.turn(request):
            return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def run_for_camera(self, work: Callable[[], T]) -> T:
        """Run `work` on the one thread that all cameras share in turn."""
        return await anyio.to_thread.run_sync(work, limiter=self._camera_thread)
