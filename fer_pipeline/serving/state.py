"""Admission: who may upload, wait, and be worked for, so that what is too much is refused at once and nobody starves another."""

from __future__ import annotations

import hmac
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import ALLOWED_FORMATS, MAX_PIXELS, UInt8Array
from fer_pipeline.imaging import decode as decode_here
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import TemporalMode
from fer_pipeline.serving.background.feedback_inbox import Intake
from fer_pipeline.serving.background.prediction_logger import Logbook
from fer_pipeline.serving.background.shadow import Shadow
from fer_pipeline.serving.http.uploads import Limits, RefusedError

T = TypeVar("T")

_RECENT = 16
_LONGEST_RETRY_SECONDS = 60

MOST_LISTENERS = 64
"""Streams of events that may be open at the same time; each looks at one small file now and then."""


MOST_DOWNLOADS = 64
"""Files of the model that may be on their way at the same time, to pages that look at pictures themselves."""


class Decode(Protocol):
    """How an uploaded picture becomes pixels."""

    def __call__(self, data: bytes, formats: tuple[str, ...] = ALLOWED_FORMATS, max_pixels: int = MAX_PIXELS) -> UInt8Array:
        """What `imaging.decode` returns and raises."""


class Desk:
    """Admits requests up to the limits and runs them on a bounded number of threads. Limits count per worker process.

    With a token, requests that give work must name it.
    """

    def __init__(self, recognizer: Recognizer, limits: Limits, token: str | None = None) -> None:
        """Raises `ParamsError` for a token that not every client can send."""
        if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
            raise ParamsError(
                "FER_TOKEN is empty, or holds blanks or more than printable ASCII: expected letters, digits and signs; leave it "
                "out for a service without a token"
            )
        self.recognizer = recognizer
        self.card: str | None = None  # the model card, an HTML page
        self.portable: PortableModel | None = None  # the model's files, for pages that work without the server
        self.limits = limits
        self.decode: Decode = decode_here  # in this process, until the service sets its sandbox
        self.camera_temporal: TemporalMode = "smooth"  # for sessions that do not choose
        self.logbook: Logbook | None = None  # None: no prediction is logged
        self.shadow: Shadow | None = None  # None: no challenger judges what the champion has answered
        self.intake: Intake | None = None  # None: nobody may correct an answer
        self._token = token
        self._threads = anyio.CapacityLimiter(limits.parallel)
        self._camera_thread = anyio.CapacityLimiter(1)
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT)  # that works took, without their waiting
        self._counts = {"uploads": 0, "work": 0, "cameras": 0, "listeners": 0, "downloads": 0}

    @property
    def has_token(self) -> bool:
        """Whether the operator has set a token."""
        return self._token is not None

    def check_token(self, given: str | None) -> None:
        """Raises `RefusedError` where a token is needed and another one or none was given."""
        if self._token is not None and not hmac.compare_digest((given or "").encode(), self._token.encode()):
            raise RefusedError(401, "unauthorized", "this service needs its token: send the header `Authorization: Bearer TOKEN`")

    def upload(self) -> AbstractContextManager[None]:
        """A place for the upload of a request while the block runs. Raises `RefusedError` where all are taken."""
        return self._place("uploads", self.limits.max_uploads)

    def listener(self) -> AbstractContextManager[None]:
        """A place for a stream of events while the block runs. Raises `RefusedError` where all are taken."""
        return self._place("listeners", MOST_LISTENERS)

    def download(self) -> AbstractContextManager[None]:
        """A place for a file of the model that is sent while the block runs. Raises `RefusedError` where all are taken."""
        return self._place("downloads", MOST_DOWNLOADS)

    def camera(self) -> AbstractContextManager[None]:
        """A place for a live session while the block runs. Raises `RefusedError` where all are taken."""
        return self._place("cameras", self.limits.max_cameras)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, run on a thread. Raises `RefusedError` where too many wait already."""

        def timed() -> T:
            start = time.monotonic()
            try:
                return work()
            finally:
                self._recent_seconds.append(time.monotonic() - start)

        with self._place("work", self.limits.parallel + self.limits.max_waiting):
            return await anyio.to_thread.run_sync(timed, limiter=self._threads)

    async def run_for_camera(self, work: Callable[[], T]) -> T:
        """The result of `work`, run on the one thread that all cameras share in turn."""
        return await anyio.to_thread.run_sync(work, limiter=self._camera_thread)

    @contextmanager
    def _place(self, kind: str, most: int) -> Iterator[None]:
        if self._counts[kind] >= most:  # only the event loop's own thread comes here, so nothing can slip in between
            seconds = self._queue_seconds() if kind == "work" else 1  # how long the others last is not ours to know
            raise RefusedError(429, "overloaded", f"too many requests at once; try again in {seconds} s", seconds)
        self._counts[kind] += 1
        try:
            yield
        finally:
            self._counts[kind] -= 1

    def _queue_seconds(self) -> int:
        """After which all who are worked for or wait now are done, if their works take as long as the recent ones: 1 to 60."""
        recent = tuple(self._recent_seconds)
        mean = sum(recent) / len(recent) if recent else 0.0
        return min(max(1, math.ceil(mean * self._counts["work"] / self.limits.parallel)), _LONGEST_RETRY_SECONDS)
