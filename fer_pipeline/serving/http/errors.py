"""What is not served, as JSON: one form for refusals and for faults of ours."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection

from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.http.uploads import RefusedError


def error_answer(status: int, code: str, message: str, retry_seconds: int = 1) -> JSONResponse:
    """Build and count the answer `{"error": {"code": ..., "message": ...}}`.

    `retry_seconds` is the Retry-After of a 429.
    """
    metrics.REFUSED.labels(code).inc()
    retry = {"Retry-After": str(retry_seconds)}
    headers = {429: retry, 413: {"Connection": "close"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def refuse_unknown_parameters(connection: HTTPConnection) -> None:
    """Refuse a request with a query parameter that its route does not have.

    A dependency of the whole app: a misspelled parameter would otherwise be passed over in silence. Raises `RefusedError`.
    """
    route = connection.scope.get("route")
    if not isinstance(route, APIRoute) or not route.include_in_schema:  # a link to the page may carry what it likes
        return
    known = _query_names(route.dependant)
    unknown = [name for name in connection.query_params if name not in known]
    if unknown:
        expected = f"expected {', '.join(known)}" if known else "this route has none"
        raise RefusedError(422, "unknown_parameter", f"parameter {unknown[0][:40]!r} is not known here: {expected}")


def _query_names(dependant: Dependant) -> list[str]:
    names = [parameter.alias for parameter in dependant.query_params]
    return names + [name for inner in dependant.dependencies for name in _query_names(inner)]


def answer_refusals(app: FastAPI) -> None:
    """Answer refusals of all routes with `error_answer`.

    Internal errors are handled by `middleware.RequestId`.
    """

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return error_answer(error.status, error.code, str(error), error.retry_seconds)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        return error_answer(422, "invalid_parameter", faults)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        answer = error_answer(error.status_code, "bad_request" if error.status_code == 400 else "not_served", str(error.detail))
        answer.headers.update(error.headers or {})  # Allow, of 405
        return answer

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        return error_answer(400, "cut_short", "the connection ended before the whole request came")
