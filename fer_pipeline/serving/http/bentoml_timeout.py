"""Remove BentoML's own time limit: it can be long, but not be switched off.

Its middleware leaves a timer behind for every request until the limit is over, and with it 5 kB of the request: after ten minutes
of 570 requests a second that was more than a gigabyte. `uploads` and `admission` handle slow uploads and full queues.
"""

from __future__ import annotations

from bentoml._internal.server.http import traffic
from starlette.types import ASGIApp, Receive, Scope, Send


class _NoTimeLimit:
    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def drop_time_limit() -> None:
    """Disable the limit; call it before BentoML makes an app."""
    traffic.TimeoutMiddleware = _NoTimeLimit  # type: ignore[assignment, misc]
