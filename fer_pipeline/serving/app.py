"""HTTP app of the service, free of BentoML: all routes, and the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from fer_pipeline.serving.http.auth import OwnHostsOnly, OwnPagesOnly, require_token
from fer_pipeline.serving.http.errors import answer_refusals, refuse_unknown_parameters
from fer_pipeline.serving.http.metrics import CountRequests, told
from fer_pipeline.serving.http.middleware import RequestId, SafeHeaders
from fer_pipeline.serving.http.model_schemas import Model, model_metadata
from fer_pipeline.serving.http.schemas import refusals
from fer_pipeline.serving.http.uploads import BodyLimit, RefusedError
from fer_pipeline.serving.reference.examples import add_examples
from fer_pipeline.serving.reference.page import reference_page
from fer_pipeline.serving.routes import admin, browser_model, feedback, live, pictures, videos
from fer_pipeline.serving.state import ServiceState

WEB = Path(__file__).with_name("web")


def set_state(app: FastAPI, service: ServiceState) -> None:
    """Make an app of `create_app` ready to answer."""
    app.state.service = service
    app.state.admission = service.admission  # for what knows nothing of models


def create_app() -> FastAPI:
    """The app with all routes; `set_state` must run before its first request."""
    app = FastAPI(
        title="fer",
        summary="Facial emotion recognition: pictures, videos and live cameras in, faces with calibrated emotions out.",
        description=live.PROTOCOL_WORDS,
        docs_url=None,  # both load their scripts from elsewhere; `docs` below has its own page
        redoc_url=None,
        dependencies=[Depends(refuse_unknown_parameters)],
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(OwnPagesOnly)
    app.add_middleware(OwnHostsOnly)
    app.add_middleware(RequestId)
    app.add_middleware(SafeHeaders)  # outside of the others, for their answers
    app.add_middleware(CountRequests)
    answer_refusals(app)
    app.include_router(pictures.router)
    app.include_router(feedback.router)
    app.include_router(videos.router)
    app.include_router(live.router)
    app.include_router(admin.router)
    app.include_router(browser_model.router)

    @app.get("/model", response_model=Model, tags=["model"])
    async def model() -> Any:
        """Return the model's metadata: network, training data, metrics, limits of use."""
        service: ServiceState = app.state.service
        logs = service.prediction_logger is not None or (service.shadow is not None and service.shadow.keeps_log)
        days = service.feedback_inbox.settings.feedback_days if service.feedback_inbox else None
        return model_metadata(
            service.recognizer,
            camera_temporal=service.camera_temporal,
            has_card=service.card is not None,
            logs_predictions=logs,
            feedback_days=days,
        )

    @app.get("/card", response_class=HTMLResponse, responses=refusals(404), tags=["model"])
    async def card() -> str:
        """Return the model card as a page: what the model is, how good, and for what."""
        service: ServiceState = app.state.service
        if service.card is None:
            raise RefusedError(404, "no_card", "this model came without a model card: `fer card` writes one where it was trained")
        return service.card

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)  # BentoML has a page of its own to show for HEAD
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    @cache
    def docs() -> str:
        return reference_page(app.openapi())

    @app.get("/metrics", include_in_schema=False, dependencies=[Depends(require_token)])
    def metrics() -> Response:  # with a token: on a quiet service a counter that moves tells a person's answer
        return Response(told(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @cache
    def described() -> dict[str, Any]:
        document = FastAPI.openapi(app)
        add_examples(document)
        return document

    app.openapi = described  # type: ignore[method-assign]
    app.mount("/web", StaticFiles(directory=WEB), name="web")
    return app
