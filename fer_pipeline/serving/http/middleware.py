"""Headers on each answer, internal errors included: security and request id."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import uuid
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fer_pipeline.reports.page import template_source
from fer_pipeline.serving.http.errors import error_answer

logger = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

CARD_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the model card, which is one file with its style and figures in it, and without any script."""

REPORT = re.compile(r"/video/[0-9a-f]{32}/files/report\.html")
"""The report of a video. A video that broke into its process may have written it: no script runs but ours, no host is asked."""

WORKER = "/web/device/worker.js"
WORKER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
"""Of the page's worker that looks at pictures on the device: it may run WebAssembly, and reach only scripts of the service."""

EXAMPLE = "/web/device/example.html"
"""The page that shows how others use the worker: one file, and so with its script in it."""

MODEL_FILES = ("/model/network", "/model/detector", "/model/runtime")
"""What a browser may keep and ask again about by its ETag."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def script_source(page: str) -> str:
    """Return the hash by which a policy allows one inline script of a page."""
    _, _, rest = page.partition("<script")
    script, _, _ = rest.partition(">")[2].partition("</script>")
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def _example_policy() -> str:
    page = (Path(__file__).parents[1] / EXAMPLE[1:]).read_text(encoding="utf-8")
    return SECURITY_HEADERS["Content-Security-Policy"].replace("script-src 'self'", f"script-src 'self' {script_source(page)}")


@cache
def _report_policy() -> str:
    script = script_source(template_source("video_player.html"))
    return CARD_POLICY.replace("img-src", f"script-src {script}; media-src 'self'; img-src")


class SafeHeaders:
    """ASGI middleware that adds `SECURITY_HEADERS` and forbids caching of answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                if scope["path"] == "/card":
                    headers["Content-Security-Policy"] = CARD_POLICY
                if REPORT.fullmatch(scope["path"]):
                    headers["Content-Security-Policy"] = _report_policy()
                if scope["path"] == EXAMPLE:
                    headers["Content-Security-Policy"] = _example_policy()
                if scope["path"] == WORKER:
                    headers["Content-Security-Policy"] = WORKER_POLICY
                page = scope["path"] == "/" or scope["path"].startswith("/web/")
                headers["Cache-Control"] = "no-cache" if page or scope["path"] in MODEL_FILES else "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)


class RequestId:
    """ASGI middleware that echoes `X-Request-Id`, or makes one where none came.

    It logs what no route caught under this id, and answers 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        number = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-Id"] = number
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("request %s failed", number)
            if started:
                raise  # the server cuts the connection, so that half an answer is not taken for a whole one
            message = f"the service failed on request {number}; its log says why"
            await error_answer(500, "internal_error", message)(scope, receive, send_with_id)
