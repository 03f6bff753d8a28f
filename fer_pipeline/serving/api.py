"""The HTTP app, free of BentoML: pictures, videos and live cameras in, faces with emotions out, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fer_pipeline.serving import live, metrics, pictures, videos
from fer_pipeline.serving.answers import Model, model_facts
from fer_pipeline.serving.desk import Desk
from fer_pipeline.serving.headers import RequestId, SafeHeaders
from fer_pipeline.serving.jobs import Jobs
from fer_pipeline.serving.uploads import BodyLimit, RefusedError

WEB = Path(__file__).with_name("web")


def open_desk(app: FastAPI, desk: Desk, jobs: Jobs) -> None:
    """Makes an app of `create_app` ready to answer."""
    app.state.limits = desk.limits
    app.state.desk = desk
    app.state.jobs = jobs


def create_app() -> FastAPI:
    """The app with all routes; `open_desk` must run before its first request."""
    app = FastAPI(
        title="fer",
        summary="Facial emotion recognition: pictures, videos and live cameras in, faces with calibrated emotions out.",
        description=live.PROTOCOL_WORDS,
        docs_url=None,  # both load their scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestId)
    _answer_errors(app)
    app.include_router(pictures.router)
    app.include_router(videos.router)
    app.include_router(live.router)

    @app.get("/model", response_model=Model, tags=["model"])
    async def model() -> Any:
        """Facts of the model: network, training data, metrics, image spec, lineage, and what it is not for."""
        desk: Desk = app.state.desk
        return model_facts(desk.recognizer)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/web", StaticFiles(directory=WEB), name="web")
    return app


def _answer_errors(app: FastAPI) -> None:
    def answer(status: int, code: str, message: str) -> JSONResponse:
        metrics.REFUSED.labels(code).inc()
        headers = {429: {"Retry-After": "1"}, 413: {"Connection": "close"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
        return JSONResponse({"error": {"code": code, "message": message}}, status, headers)

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return answer(error.status, error.code, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        return answer(422, "invalid_parameter", faults)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, "bad_request" if error.status_code == 400 else "not_served", str(error.detail))

    @app.exception_handler(Exception)  # a fault of ours; the server's log has the trace
    async def fault(_: Request, __: Exception) -> JSONResponse:
        return answer(500, "internal_error", "the service failed on this request; its log says why")

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        return answer(400, "cut_short", "the connection ended before the whole request came")
