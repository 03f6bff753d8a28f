"""Routes for recognition in the browser: metadata and files of the model."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import MAX_PIXELS
from fer_pipeline.inference import quality, smoothing
from fer_pipeline.inference.live.own_neutral import COLLECT_SECONDS
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.neutral.reference import DEFAULT_TAU, MIN_PROBABILITY
from fer_pipeline.inference.recognizer import LEVEL_DEGREES
from fer_pipeline.inference.smoothing import TemporalMode
from fer_pipeline.inference.tracking import COAST_SECONDS, FORGET_SECONDS
from fer_pipeline.serving.http.auth import require_token
from fer_pipeline.serving.http.model_schemas import Lineage, lineage
from fer_pipeline.serving.http.schemas import refusals
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.routes import browser_files, live
from fer_pipeline.serving.state import ServiceState

_PART_BYTES = 65_536

router = APIRouter(prefix="/model", dependencies=[Depends(require_token)], tags=["model"])


class DeviceFile(BaseModel):
    """A file that the page loads."""

    model_config = ConfigDict(extra="allow")

    bytes: int = Field(description="once it is unpacked")
    sent: int = Field(description="bytes that travel")


class DeviceMetadata(BaseModel):
    """All that decides an answer besides the three files.

    `model` is the one that the network belongs to.
    """

    model: Lineage
    network: DeviceFile
    detector: DeviceFile
    runtime: DeviceFile
    labels: list[str]
    temperature: float
    image_spec: dict[str, Any]
    uncertain_below: float
    max_pixels: int
    camera_side: int = Field(description="longer side, in pixels, of the copy of a camera's frame that is searched for faces")
    level_degrees: float
    quality: dict[str, float] = Field(description="bounds of a good face, and the nose that its yaw supposes")
    tracking: dict[str, float] = Field(description="in seconds")
    neutral: dict[str, float] = Field(description="how a person's own neutral face is taken, in seconds, and used")
    camera_temporal: TemporalMode = Field(description="how a camera's answers are joined over time, unless a person chooses")
    temporal_modes: dict[TemporalMode, dict[str, float | None]] = Field(
        description="constants of each way, in seconds: of the moving mean, or with dwell_seconds of the hidden Markov model"
    )


@router.get("/device", response_model=DeviceMetadata, responses=refusals(401, 404))
def device_metadata(request: Request) -> Any:
    """Return the model's metadata and the sizes of the files for the browser."""
    service: ServiceState = request.app.state.service
    recognizer, model = service.recognizer, _model(service)
    info = recognizer.info
    network = browser_files.network_file(model)
    name = recognizer.detector.name
    detector = _detector(model, name)
    return {
        "model": lineage(recognizer),
        "network": {"bytes": len(network), "sent": len(network), "sha256": info.sha256},
        "detector": {"bytes": len(detector), "sent": len(detector), **browser_files.detector_facts(name)},
        "runtime": {**browser_files.runtime_facts(), "sent": len(browser_files.runtime_file(packed=True)[0])},
        "labels": list(info.labels),
        "temperature": info.temperature,
        "image_spec": vars(info.image_spec),
        "uncertain_below": recognizer.threshold,
        "max_pixels": MAX_PIXELS,
        "camera_side": live.DETECTION_SIDE,
        "level_degrees": LEVEL_DEGREES,
        "quality": {
            "min_size": quality.MIN_SIZE,
            "min_sharpness": quality.MIN_SHARPNESS,
            "darkest": quality.MIN_BRIGHTNESS,
            "brightest": quality.MAX_BRIGHTNESS,
            "max_outside": quality.MAX_OUTSIDE,
            "nose": quality.NOSE_LENGTH,
        },
        "tracking": {
            "forget_seconds": FORGET_SECONDS,
            "coast_seconds": COAST_SECONDS,
        },
        "neutral": {
            "seconds": COLLECT_SECONDS,
            "tau": DEFAULT_TAU,
            "least": MIN_PROBABILITY,
        },
        "camera_temporal": service.camera_temporal,
        "temporal_modes": {mode: _constants(mode) for mode in smoothing.TEMPORAL_MODES},
    }


def _constants(mode: TemporalMode) -> dict[str, float | None]:
    mean_seconds, dwell = smoothing.time_constants(mode)
    return {
        "smoothing_seconds": mean_seconds,
        "dwell_seconds": dwell,
        "evidence_seconds": smoothing.EVIDENCE_SECONDS,
        "least": smoothing.MIN_PROBABILITY,
    }


async def _downloading(request: Request) -> AsyncIterator[None]:
    with request.app.state.admission.download(request):
        yield  # until the whole response is sent, or its receiver is gone


def _binary(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {
        **refusals(401, 404, 429),
        200: {"content": content, "description": description},
        304: {"description": "Not modified."},
    }


@router.get(
    "/network",
    response_class=Response,
    dependencies=[Depends(_downloading)],
    responses=_binary("application/octet-stream", "An ONNX file. The ETag is the SHA-256 that the answers name."),
)
def network(request: Request) -> Response:
    """The network that answers now: uint8 `image` (N, 48, 48, 1) to `logits` (N, 7)."""
    content = browser_files.network_file(_model(request.app.state.service))
    return _answer(request, content, hashlib.sha256(content).hexdigest(), "application/octet-stream")


@router.get(
    "/detector",
    response_class=Response,
    dependencies=[Depends(_downloading)],
    responses=_binary(
        "application/octet-stream", "CenterFace or YuNet as ONNX, or a Haar cascade as JSON; GET /model says which."
    ),
)
def detector(request: Request) -> Response:
    """The face detector that works now."""
    service: ServiceState = request.app.state.service
    content = _detector(_model(service), service.recognizer.detector.name)
    return _answer(request, content, hashlib.sha256(content).hexdigest(), "application/octet-stream")


@router.get(
    "/runtime",
    response_class=Response,
    dependencies=[Depends(_downloading)],
    responses=_binary("application/wasm", "The WebAssembly of onnxruntime-web, packed with gzip where the client reads that."),
)
def runtime(request: Request) -> Response:
    """The program that runs the network in a browser."""
    packed = "gzip" in request.headers.get("accept-encoding", "")
    content, digest = browser_files.runtime_file(packed=packed)
    headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if packed else {})}
    return _answer(request, content, digest, "application/wasm", headers)


def _model(service: ServiceState) -> PortableModel:
    if service.model_files is None:
        raise RefusedError(404, "no_model_files", "this service does not give its model away: choose “On the server”")
    return service.model_files


def _detector(model: PortableModel, name: str) -> bytes:
    try:
        return browser_files.detector_file(model, name)
    except ModelError as error:
        raise RefusedError(404, "no_detector", f"{error}; until then choose “On the server”") from error


def _answer(request: Request, content: bytes, digest: str, media_type: str, headers: dict[str, str] | None = None) -> Response:
    tag = f'"{digest}"'
    headers = {**(headers or {}), "ETag": tag}
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(content))
    return StreamingResponse(_parts(content), media_type=media_type, headers=headers)


async def _parts(content: bytes) -> AsyncIterator[bytes]:
    # As a whole it would be copied into the buffer of each connection, and stay there for as long as a slow reader likes.
    for start in range(0, len(content), _PART_BYTES):
        yield content[start : start + _PART_BYTES]
