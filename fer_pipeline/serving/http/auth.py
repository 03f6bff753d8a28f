"""Authorization: bearer token, origin of a page, name of the host."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.http.errors import error_answer
from fer_pipeline.serving.http.uploads import RefusedError

_BEARER = HTTPBearer(auto_error=False, description="The value of FER_TOKEN, where the operator has set one.")
_READING = ("GET", "HEAD", "OPTIONS")
_PORTS = {"http": 80, "https": 443}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Range, X-Request-Id",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "Content-Range, Location, Retry-After, X-Emotion, X-Model, X-Request-Id"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class OwnHostsOnly:
    """ASGI middleware that refuses with 421 what is addressed to another host.

    A page may have its own name lead to this machine (DNS rebinding) and then read all answers; its requests bear that name.
    Served are `localhost`, the loopback addresses, the address that the connection came to, and the names of FER_HOSTS, which the
    state of `owner` has. Left out, that is the app that the middleware is in.
    """

    def __init__(self, app: ASGIApp, owner: FastAPI | None = None) -> None:
        self._app = app
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            host = Headers(scope=scope).get("host", "")
            server = scope.get("server") or ("",)
            if _host_name(host) not in {*_LOOPBACK, server[0], *(self._owner or scope["app"]).state.service.hosts}:
                message = f"this service is not {host[:100]!r}: its operator may add the name to FER_HOSTS"
                await error_answer(421, "unknown_host", message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class OwnPagesOnly:
    """Keep pages of other origins out, but for those of FER_ALLOWED_ORIGINS.

    A browser lets any page send a request to any host, this machine included, though not read its answer: what is not only
    read is refused with 403. Allowed pages may send, and read (CORS), never with cookies or what else a browser adds by itself:
    where the service has a token, they must know it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, allowed = Headers(scope=scope), scope["app"].state.service.allowed_origins
        if allowed:
            send = _readable_by(headers.get("origin", ""), allowed, send)
        if scope["method"] not in _READING:
            try:
                check_origin(headers, allowed)
            except RefusedError as error:
                await error_answer(error.status, error.code, str(error))(scope, receive, send)
                return
        if scope["method"] == "OPTIONS" and headers.get("origin") in allowed and "access-control-request-method" in headers:
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send)  # it bears no token
            return
        await self._app(scope, receive, send)


def _readable_by(origin: str, allowed: tuple[str, ...], send: Send) -> Send:
    """Let the page that asks read the answer where it is allowed."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer = MutableHeaders(scope=message)
            answer.add_vary_header("Origin")
            if origin in allowed:
                answer["Access-Control-Allow-Origin"] = origin
                answer["Access-Control-Expose-Headers"] = _EXPOSED
        await send(message)

    return send_marked


async def require_token(request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
    """Check the bearer token of a request.

    Raises `RefusedError` where the service has a token and the request another one or none.
    """
    admission: AdmissionController = request.app.state.admission
    admission.check_token(bearer.credentials if bearer else None)


def check_origin(headers: Headers, allowed: tuple[str, ...] = ()) -> None:
    """Check that no page of another host or port sends the request.

    Raises `RefusedError` where a browser says that one does whose origin is not `allowed`. Programs, which send neither `Origin`
    nor `Sec-Fetch-Site`, pass.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin in allowed:
        return
    if headers.get("sec-fetch-site") == "cross-site" or (origin is not None and not _same_place(origin, host)):
        raise RefusedError(
            403,
            "forbidden_origin",
            f"a page of {(origin or 'another site')[:100]} sent this to {host[:100]}: use the service's own page, or a program "
            "that sends no Origin; its operator may name the page in FER_ALLOWED_ORIGINS; a proxy must pass the Host header on",
        )


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname  # in small letters, without port and brackets
    except ValueError:  # no address at all
        return None


def _same_place(origin: str, host: str) -> bool:
    # The scheme may differ: behind a proxy that ends TLS, the page is https and this service http.
    try:
        page = urlsplit(origin)
        own = urlsplit(f"{page.scheme}://{host}")
        default = _PORTS.get(page.scheme)
        return page.hostname is not None and (page.hostname, page.port or default) == (own.hostname, own.port or default)
    except ValueError:  # no address at all
        return False
