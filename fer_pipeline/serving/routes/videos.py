"""Routes for videos: send, progress, results, delete.

A job's id is the key to it: 128 random bits.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Path as PathParameter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from fer_pipeline.inference.smoothing import DEFAULT_TEMPORAL, TemporalMode
from fer_pipeline.serving.http.auth import require_token
from fer_pipeline.serving.http.model_schemas import lineage
from fer_pipeline.serving.http.places import client_address
from fer_pipeline.serving.http.schemas import VideoAnswer, VideoJob, refusals
from fer_pipeline.serving.http.uploads import RefusedError, read_video
from fer_pipeline.serving.sandbox.job_files import RESULT_FILES, UNFINISHED, UPLOAD
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.state import ServiceState

_POLL_SECONDS = 0.3
_ALIVE_SECONDS = 10.0  # between two signs of life of a stream of events, so that no proxy cuts it
_TYPES = {
    ".jsonl": "application/jsonl",
    ".csv": "text/csv; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".webm": "video/webm",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
}

_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of the video: MP4, MOV, WebM, MKV or AVI.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "additionalProperties": False,
                    "properties": {"video": {"type": "string", "format": "binary"}},
                },
                "examples": {
                    "curl": {
                        "summary": "curl --form video=@talk.mp4 http://127.0.0.1:3000/video",
                        "value": {"video": "(the bytes of talk.mp4)"},
                    }
                },
            },
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "examples": {
                    "curl": {
                        "summary": "curl --header 'Content-Type: application/octet-stream' --data-binary @talk.mp4 "
                        "http://127.0.0.1:3000/video",
                        "value": "(the bytes of talk.mp4)",
                    }
                },
            },
        },
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events named `state`; the data are those of GET /video/{job}. Ends with the job.",
        "content": {
            "text/event-stream": {"schema": {"type": "string"}, "example": 'event: state\ndata: {"state": "running"}\n\n'}
        },
    }
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {kind.split(";")[0]: {"schema": {"type": "string", "format": "binary"}} for kind in _TYPES.values()},
    }
}

# Told in the document only: what fits neither is 404, as any other address that names nothing.
JobId = Annotated[str, PathParameter(json_schema_extra={"pattern": "^[0-9a-f]{32}$"})]
FileName = Annotated[str, PathParameter(json_schema_extra={"enum": list(RESULT_FILES)})]

router = APIRouter(tags=["videos"])


@router.post(
    "/video",
    status_code=202,
    response_model=VideoJob,
    responses=refusals(400, 401, 403, 408, 413, 415, 422, 429),
    openapi_extra=_BODY,
    dependencies=[Depends(require_token)],
)
async def send(
    request: Request,
    response: Response,
    temporal: Annotated[
        TemporalMode, Query(description="how the emotions of a person are joined, as for `fer video`")
    ] = DEFAULT_TEMPORAL,
) -> Any:
    """Take a video in, as the body or a form, and analyse it in the background."""
    service: ServiceState = request.app.state.service
    with service.admission.upload(request), service.jobs.receiving(client_address(request)) as folder:
        await read_video(request, folder / UPLOAD)
        model = service.jobs.model  # read once: another model may take over any time
        job = service.jobs.start(folder, model, temporal, model=lineage(model.recognizer if model else service.recognizer))
    response.headers["Location"] = f"/video/{job}"
    return _told(job, service.jobs.state(job))


@router.get("/video/{job}", response_model=VideoAnswer, responses=refusals(404))
async def state(request: Request, job: JobId) -> Any:
    """How far a video is, and how it ended."""
    return _told(job, request.app.state.service.jobs.state(job))


async def _listening(request: Request) -> AsyncIterator[None]:
    with request.app.state.admission.listener(request):
        yield  # until the whole response is sent, or its receiver is gone


@router.get(
    "/video/{job}/events",
    response_class=StreamingResponse,
    responses={**refusals(404, 429), **_EVENTS},
    dependencies=[Depends(_listening)],
)
async def events(request: Request, job: JobId) -> StreamingResponse:
    """The states of a video as they change, until it has ended."""
    jobs: VideoJobs = request.app.state.service.jobs
    jobs.state(job)

    async def stream() -> AsyncIterator[str]:
        before, quiet = "", 0.0
        while True:
            try:
                values = jobs.state(job)
            except RefusedError:  # deleted meanwhile
                yield _event({"job": job, "state": "deleted"})
                return
            text = _event(_told(job, values))
            if text != before or quiet >= _ALIVE_SECONDS:
                yield text
                before, quiet = text, 0.0
            if values["state"] not in UNFINISHED:
                return
            await anyio.sleep(_POLL_SECONDS)
            quiet += _POLL_SECONDS

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get("/video/{job}/files/{name}", response_class=FileResponse, responses={**refusals(404), **_FILE})
async def file(request: Request, job: JobId, name: FileName) -> FileResponse:
    """Return a result: table, subtitles, annotated video, summary or report page.

    Only those that the state names exist. Like the state they need no token: the id of the job is the key, so that the links of
    report.html to the files beside it work.
    """
    path = request.app.state.service.jobs.file(job, name)
    return FileResponse(path, media_type=_TYPES[path.suffix], filename=name, content_disposition_type="inline")


@router.delete("/video/{job}", status_code=204, responses=refusals(401, 403, 404), dependencies=[Depends(require_token)])
async def delete(request: Request, job: JobId) -> Response:
    """Ends the analysis, and removes the video and its results."""
    await anyio.to_thread.run_sync(request.app.state.service.jobs.delete, job)
    return Response(status_code=204)


def _told(job: str, state: dict[str, Any]) -> dict[str, Any]:
    return {"job": job, **state}


def _event(values: dict[str, Any]) -> str:
    return f"event: state\ndata: {json.dumps(values)}\n\n"
