"""Admission control: token, rate, queue and concurrency limits of a worker.

What is too much is refused at once with 429. Limits count per worker process.
"""

from __future__ import annotations

import hmac
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.settings import Limits

T = TypeVar("T")

_RECENT = 16
_LONGEST_RETRY_SECONDS = 60

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
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT)  # of work, without waiting
        self._counts = {"uploads": 0, "work": 0, "cameras": 0, "listeners": 0, "downloads": 0}

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

    def upload(self) -> AbstractContextManager[None]:
        """Count an upload while the block runs.

        Raises `RefusedError` (429) at `max_uploads`.
        """
        return self._counted("uploads", self.limits.max_uploads)

    def listener(self) -> AbstractContextManager[None]:
        """Count an event stream while the block runs.

        Raises `RefusedError` (429) at `MAX_LISTENERS`.
        """
        return self._counted("listeners", MAX_LISTENERS)

    def download(self) -> AbstractContextManager[None]:
        """Count a model file that is sent while the block runs.

        Raises `RefusedError` (429) at `MAX_DOWNLOADS`.
        """
        return self._counted("downloads", MAX_DOWNLOADS)

    def camera(self) -> AbstractContextManager[None]:
        """Count a live session while the block runs. Raises `RefusedError` (429)."""
        return self._counted("cameras", self.limits.max_cameras)

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` on a thread. Raises `RefusedError` (429) where too many wait already."""

        def timed() -> T:
            start = time.monotonic()
            try:
                return work()
            finally:
                self._recent_seconds.append(time.monotonic() - start)

        with self._counted("work", self.limits.parallel + self.limits.max_waiting):
            return await anyio.to_thread.run_sync(timed, limiter=self._threads)

    async def run_for_camera(self, work: Callable[[], T]) -> T:
        """Run `work` on the one thread that all cameras share in turn."""
        return await anyio.to_thread.run_sync(work, limiter=self._camera_thread)

    @contextmanager
    def _counted(self, kind: str, limit: int) -> Iterator[None]:
        if self._counts[kind] >= limit:  # runs on the event loop's thread alone, so nothing can slip in between
            seconds = self._queue_seconds() if kind == "work" else 1  # how long uploads and cameras last is not known
            raise RefusedError(429, "overloaded", f"too many requests at once; try again in {seconds} s", seconds)
        self._counts[kind] += 1
        try:
            yield
        finally:
            self._counts[kind] -= 1

    def _queue_seconds(self) -> int:
        """Seconds until the present work is done, estimated from recent work: 1 to 60."""
        recent = tuple(self._recent_seconds)
        mean = sum(recent) / len(recent) if recent else 0.0
        return min(max(1, math.ceil(mean * self._counts["work"] / self.limits.parallel)), _LONGEST_RETRY_SECONDS)
