"""The HTTP routes, free of BentoML: pictures in, faces with emotions out, and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import UInt8Array, decode, encode_png
from fer_pipeline.inference.annotate import annotate
from fer_pipeline.inference.recognizer import FaceEmotion, Recognizer
from fer_pipeline.serving.answers import BatchPrediction, ErrorAnswer, Model, Prediction, lineage, model_facts
from fer_pipeline.serving.headers import SafeHeaders
from fer_pipeline.serving.uploads import BodyLimit, Limits, RefusedError, read_pictures

WEB = Path(__file__).with_name("web")

Framing = Literal["auto", "face"]
T = TypeVar("T")

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The form is malformed."},
    413: {"model": ErrorAnswer, "description": "The request is larger than the limit."},
    415: {"model": ErrorAnswer, "description": "No multipart form, or the file is no JPEG, PNG, WebP or BMP."},
    422: {"model": ErrorAnswer, "description": "No picture in the form, or one that cannot be decoded."},
    429: {"model": ErrorAnswer, "description": "Too many requests at once; try again after the seconds of Retry-After."},
}


class Desk:
    """Admits requests up to the limits and runs them on a bounded number of threads."""

    def __init__(self, recognizer: Recognizer, limits: Limits) -> None:
        self.recognizer = recognizer
        self.limits = limits
        self._threads = anyio.CapacityLimiter(limits.parallel)
        self._counts = {"uploads": 0, "work": 0}

    def upload(self) -> Any:
        """A place for the upload of a request while the block runs. Raises `RefusedError` where all are taken."""
        return self._place("uploads", self.limits.max_uploads)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, run on a thread. Raises `RefusedError` where too many wait already."""
        with self._place("work", self.limits.parallel + self.limits.max_waiting):
            return await anyio.to_thread.run_sync(work, limiter=self._threads)

    @contextmanager
    def _place(self, kind: str, most: int) -> Iterator[None]:
        if self._counts[kind] >= most:  # only the event loop's own thread comes here, so nothing can slip in between
            raise RefusedError(429, "overloaded", "too many requests at once; try again in a second")
        self._counts[kind] += 1
        try:
            yield
        finally:
            self._counts[kind] -= 1


def open_desk(app: FastAPI, recognizer: Recognizer, limits: Limits) -> None:
    """Makes an app of `create_app` ready to answer."""
    app.state.limits = limits
    app.state.desk = Desk(recognizer, limits)


def create_app() -> FastAPI:
    """The app with all routes; `open_desk` must run before its first request."""
    app = FastAPI(
        title="fer",
        summary="Facial emotion recognition: pictures in, faces with calibrated emotions out.",
        docs_url=None,  # both load their scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(SafeHeaders)
    _answer_errors(app)

    @app.post("/predict", response_model=Prediction, responses=_REFUSALS, openapi_extra=_form("picture"))
    async def predict(request: Request, framing: Framing = "auto") -> Any:
        """Faces of the picture in the form field `picture`; with `framing=face` the whole picture is taken as one face."""
        desk: Desk = app.state.desk
        with desk.upload():
            (data,) = await read_pictures(request, "picture", 1)
            return await desk.run(lambda: _timed(desk, lambda: _predict(desk, data, framing)))

    @app.post("/predict/batch", response_model=BatchPrediction, responses=_REFUSALS, openapi_extra=_form("pictures", True))
    async def predict_batch(request: Request, framing: Framing = "auto") -> Any:
        """Faces of several pictures, all in form fields named `pictures`; one that cannot be read refuses the batch."""
        desk: Desk = app.state.desk
        with desk.upload():
            batch = await read_pictures(request, "pictures", desk.limits.max_pictures)
            return await desk.run(
                lambda: _timed(desk, lambda: {"pictures": [_predict(desk, data, framing, n) for n, data in enumerate(batch, 1)]})
            )

    png = {"content": {"image/png": {}}, "description": "The picture with boxes and emotions drawn in."}

    @app.post("/annotate", response_class=Response, responses={**_REFUSALS, 200: png}, openapi_extra=_form("picture"))
    async def annotated(request: Request) -> Response:
        """The picture in the form field `picture` as PNG, with boxes and emotions drawn in."""
        desk: Desk = app.state.desk
        with desk.upload():
            (data,) = await read_pictures(request, "picture", 1)
            return Response(await desk.run(lambda: _annotate(desk, data)), media_type="image/png")

    @app.get("/model", response_model=Model)
    async def model() -> Any:
        """Facts of the model: network, training data, metrics, image spec, lineage, and what it is not for."""
        return model_facts(app.state.desk.recognizer)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/web", StaticFiles(directory=WEB), name="web")
    return app


def _predict(desk: Desk, data: bytes, framing: Framing, number: int = 1) -> dict[str, Any]:
    image = _decode(data, number)
    faces = desk.recognizer.recognize(image) if framing == "auto" else [desk.recognizer.recognize_face(image)]
    return {"faces": [face.as_dict() for face in faces], "picture": {"width": image.shape[1], "height": image.shape[0]}}


def _annotate(desk: Desk, data: bytes) -> bytes:
    image = _decode(data)
    faces: list[FaceEmotion] = desk.recognizer.recognize(image)
    return encode_png(annotate(image, faces))


def _decode(data: bytes, number: int = 1) -> UInt8Array:
    try:
        return decode(data)
    except ImageError as error:
        raise RefusedError(422, "undecodable_picture", f"picture {number}: {error}") from error


def _timed(desk: Desk, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    start = time.perf_counter()
    values = work()
    return {**values, "model": lineage(desk.recognizer), "milliseconds": round(1000 * (time.perf_counter() - start), 2)}


def _form(field: str, several: bool = False) -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or BMP"}
    schema = {
        "type": "object",
        "required": [field],
        "additionalProperties": False,
        "properties": {field: {"type": "array", "items": file, "minItems": 1} if several else file},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _answer_errors(app: FastAPI) -> None:
    def answer(status: int, code: str, message: str) -> JSONResponse:
        headers = {"Retry-After": "1"} if status == 429 else {"Connection": "close"} if status == 413 else None
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
