"""Change what BentoML's server opens to others and has no option for.

The service's module calls these functions while it is imported: `bentoml serve` imports it both in the supervisor, before that
makes its sockets, and in each worker, before that starts uvicorn. So they hold for `fer serve`, `bentoml serve` and an image.
"""

from __future__ import annotations

import socket
import sys
import uuid
from http import HTTPStatus
from typing import Any

import uvicorn
from bentoml._internal.server.http import traffic
from bentoml._internal.utils import circus
from bentoml.exceptions import BentoMLConfigException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fer_pipeline.serving.http.errors import error_answer
from fer_pipeline.serving.http.middleware import SafeHeaders
from fer_pipeline.serving.settings import Limits

_CHECK_SECONDS = 10  # between two looks at the workers; BentoML's value
_FRAME_EXCESS = 64 * 1024  # bytes by which a frame may exceed the limit and still be answered by name


def keep_supervisor_private() -> None:
    """Close the control socket of Circus, which supervises the workers.

    By default it listens on two random ports of 127.0.0.1 without a login, and any user of the machine may have it start a
    process with the service's user and environment.
    """
    circus.create_standalone_arbiter = _private_arbiter


def limit_websockets() -> None:
    """Refuse compressed WebSocket messages, and large ones.

    The limit lies a little above the largest frame of a camera. Otherwise uvicorn would inflate messages on the event loop, up to
    16 MB each, before the app is asked who sends them.
    """
    uvicorn.Config = _Config  # type: ignore[misc]


def limit_stalled_readers() -> None:
    """End connections whose other side reads nothing, after `max_stall_seconds`.

    The kernel does that, also for what the server has sent already and only the kernel still holds: the time of TCP_USER_TIMEOUT
    runs while nothing is acknowledged, or the window stays closed (RFC 5482; Linux). Otherwise who never reads holds a place, a
    connection and a buffer for ever.
    """
    uvicorn.Server = _Server  # type: ignore[misc]


def drop_time_limit() -> None:
    """Remove BentoML's own time limit: it can be long, but not be switched off.

    Its middleware leaves a timer behind for every request until the limit is over, and with it 5 kB of the request: after ten
    minutes of 570 requests a second that was more than a gigabyte. `uploads` and `admission` handle slow uploads and full queues.
    """
    traffic.TimeoutMiddleware = _NoTimeLimit  # type: ignore[assignment, misc]


def is_worker() -> bool:
    """Return whether this process is a worker that BentoML's supervisor started."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name == "_bentoml_impl.worker.service"


class _NoTimeLimit:
    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    def run(self, sockets: list[socket.socket] | None = None) -> None:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            for listening in sockets or ():  # connections inherit it
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * Limits().max_stall_seconds)
        super().run(sockets)


class _Config(uvicorn.Config):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        most = 1000 * Limits().max_camera_kilobytes + _FRAME_EXCESS
        super().__init__(*arguments, **{**options, "ws_max_size": most, "ws_per_message_deflate": False})


def _private_arbiter(
    watchers: Any, *, threaded: bool = False, check_delay: float = _CHECK_SECONDS, plugins: Any = None, **options: Any
) -> circus.Arbiter:
    if plugins:
        raise BentoMLConfigException(
            "--reload is not possible here: its plugin commands the supervisor over a port that every user of this machine may "
            "use; leave it out, and start the service again after a change"
        )
    name = uuid.uuid4().hex
    kind = circus.ThreadedArbiter if threaded else circus.Arbiter
    return kind(  # inproc: sockets of ZeroMQ that exist within this process only
        watchers,
        endpoint=f"inproc://control-{name}",
        pubsub_endpoint=f"inproc://events-{name}",
        check_delay=check_delay,
        **options,
    )


class JsonErrors:
    """ASGI middleware that answers in JSON where BentoML answers in plain text.

    BentoML itself says that there is no such page; what it says then becomes the answer of all other refusals.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused: tuple[int, Headers] | None = None

        async def send_json(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                plain = headers.get("content-type", "").startswith("text/plain")
                refused = (message["status"], headers) if plain and message["status"] >= 400 else None
            if refused is None:
                await send(message)
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                status, headers = refused
                answer = error_answer(status, "not_served", HTTPStatus(status).phrase)
                if "allow" in headers:  # of 405
                    answer.headers["Allow"] = headers["allow"]
                await SafeHeaders(answer)(scope, receive, send)

        await self._app(scope, receive, send_json)
