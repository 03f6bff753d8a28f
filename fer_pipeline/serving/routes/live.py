"""Live camera: JPEG frames in over a WebSocket, one JSON answer for each.

Only the newest frame waits; an older one that is still waiting when it comes is answered "skipped". So the answers are never
older than one recognition, however slow the machine or fast the camera.
"""

from __future__ import annotations

import base64
import binascii
import time
from contextlib import suppress
from typing import Any

import anyio
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fer_pipeline.errors import ImageError
from fer_pipeline.inference.live.own_neutral import OwnNeutral
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import time_constants
from fer_pipeline.inference.stream import FaceStream
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.http.auth import check_origin
from fer_pipeline.serving.http.errors import error_answer
from fer_pipeline.serving.http.model_schemas import lineage
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.routes.frame_queue import FrameQueue, Message
from fer_pipeline.serving.sandbox.image_decoder import SlowImageError
from fer_pipeline.serving.settings import Limits
from fer_pipeline.serving.state import ServiceState

PROTOCOL = "fer.live.1"
PROTOCOL_WORDS = """\
Live cameras use the WebSocket `/live` (subprotocol `fer.live.1`, optional). The first message tells the model and
the limits: `{"type": "model", "model": ..., "limits": ..., "temporal": "hmm"}`; it comes again where another
model takes over. Before the first frame the text `{"type": "start", "temporal": "smooth"}` may choose how the emotions
of a face are joined over time: `smooth` (moving mean), `hmm` (hidden Markov model) or `none`; it is
answered `{"type": "started", "temporal": "smooth"}`. Then each binary message with one JPEG frame is answered by one
JSON message, in order, with the frame's number from 0: `{"frame": 0, "type": "faces", "faces": [...], "width": ...,
"height": ..., "time": ..., "neutral": ...}` with the faces of `/predict` and besides `track`, `smoothed`,
`smoothed_emotion` and `detected`; `{"frame": 1, "type": "skipped"}` where a newer frame came before its turn; or
`{"frame": 2, "type": "error", "code": ..., "message": ...}` with the code `invalid_image_frame`, `message_too_large`,
`rate_limited`, `no_decoder` or `invalid_message`. An error without a frame ends the session: `overloaded`, `share_taken`,
`idle`, `flooded`, `too_slow` or `internal_error`; so does a frame far beyond the limit, with close code 1009. The text
`{"type": "neutral", "action": "collect"}` takes the largest face of the next two seconds as the neutral face of that
person, who is read relative to it from then on; the action `clear` forgets it. Both are answered
`{"type": "neutral", "state": ...}`, and `neutral` of each frame is `collecting`, `set` or null. It is kept in memory for
this session alone, and forgotten where another model takes over. Messages are not compressed. The token goes into the
header `Authorization: Bearer TOKEN`, or into a further subprotocol, `bearer.` and the token in URL-safe base64 without
padding. The handshake is answered 401 without the token, and 403 for a page of another origin.
"""
TOKEN_PREFIX = "bearer."
"""A browser sets no headers on a WebSocket: it offers the token, in URL-safe base64 without padding, as another subprotocol."""

DETECTION_SIDE = 320
"""Longer side, in pixels, of the copy that is searched for faces: who sits before a camera is near. On two sample videos as many
faces are found as at 640, in a quarter to a third of the time, which is nearly all the time that a frame takes."""

_CLOSE = {
    "overloaded": 4429,
    "idle": 4408,
    "flooded": 4408,
    "share_taken": 4429,
    "too_slow": 4408,
    "internal_error": 1011,
}

router = APIRouter()


@router.websocket("/live")
async def live(websocket: WebSocket) -> None:
    """One camera session, from the first message, which tells the model, to the close."""
    service: ServiceState = websocket.app.state.service
    try:
        check_origin(websocket.headers, service.allowed_origins)  # browsers let any page open a WebSocket to any host
        service.admission.check_token(_token(websocket))
    except RefusedError as error:  # before a stranger's frame is read
        await websocket.send_denial_response(error_answer(error.status, error.code, str(error)))
        return
    await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
    try:
        with service.admission.camera(websocket), metrics.CAMERAS.track_inprogress():
            await _session(websocket, service)
    except WebSocketDisconnect:
        pass
    except RefusedError as error:
        metrics.REFUSED.labels(error.code).inc()
        await _close(websocket, error.code, str(error))
    except Exception:
        await _close(websocket, "internal_error", "the service failed on this session; its log says why")
        raise


async def _session(websocket: WebSocket, service: ServiceState) -> None:
    queue = FrameQueue(service.admission.limits)
    faults: list[RefusedError | WebSocketDisconnect] = []
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            seconds = service.admission.limits.max_camera_idle_seconds
            end = anyio.current_time() + seconds
            try:
                while anyio.current_time() < end:  # also where messages come so fast that nothing is ever waited for
                    with anyio.fail_at(end):
                        came = await websocket.receive()
                    if came["type"] == "websocket.disconnect":
                        raise WebSocketDisconnect(came.get("code", 1005))
                    content = came.get("bytes")
                    if queue.put(came["text"] if content is None else content):  # nothing else keeps a session
                        end = anyio.current_time() + seconds
                raise TimeoutError
            except TimeoutError:
                faults.append(RefusedError(408, "idle", f"no frame for {seconds} s"))
            except (RefusedError, WebSocketDisconnect) as error:
                faults.append(error)
            tasks.cancel_scope.cancel()

        async def tell(recognizer: Recognizer) -> None:
            values = {"model": lineage(recognizer), "limits": _told(service.admission.limits), "temporal": temporal}
            await websocket.send_json({"type": "model", **values})

        temporal = service.camera_temporal

        async def answer() -> None:
            nonlocal temporal
            own = OwnNeutral()  # it ends with the session
            stream = _stream(service.recognizer, temporal, own)
            with suppress(WebSocketDisconnect):  # `read` hears of it too
                await tell(stream.recognizer)
                while True:
                    message = await queue.take()
                    if message.temporal is not None:
                        temporal = message.temporal
                        stream = _stream(stream.recognizer, temporal, own)
                        await websocket.send_json({"type": "started", "temporal": temporal})
                        continue
                    if message.neutral is not None:
                        if message.neutral == "collect":
                            own.collect(stream.recognizer.info.fingerprint)
                        else:
                            own.clear()
                        await websocket.send_json({"type": "neutral", "state": own.state})
                        continue
                    recognizer = service.recognizer
                    if recognizer is not stream.recognizer:  # another model took over
                        stream.recognizer = recognizer
                        own.clear()  # it holds how the model before reads a face
                        await tell(recognizer)
                    try:
                        values = await _answer(service, stream, own, message)
                    except RefusedError as error:  # of this session, by what it sent
                        faults.append(error)
                        tasks.cancel_scope.cancel()
                        return
                    metrics.CAMERA_FRAMES.labels(values.get("code", values["type"])).inc()
                    await websocket.send_json({"frame": message.number, **values})

        tasks.start_soon(read)
        tasks.start_soon(answer)
    if faults:
        raise faults[0]


def _stream(recognizer: Recognizer, temporal: str, own: OwnNeutral) -> FaceStream:
    smoothing, dwell = time_constants(temporal)
    return FaceStream(
        recognizer,
        detection_side=DETECTION_SIDE,
        smoothing_seconds=smoothing,
        dwell_seconds=dwell,
        references=own.references,
    )


async def _answer(service: ServiceState, stream: FaceStream, own: OwnNeutral, message: Message) -> dict[str, Any]:
    frame = message.frame
    if frame is None:
        assert message.answer is not None
        return message.answer

    limits = service.admission.limits
    most = limits.max_camera_frame_seconds

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        image = service.decoder.decode(frame, ("JPEG",), limits.max_camera_pixels, most)
        faces = stream.update(image, message.seconds)
        seconds = time.perf_counter() - start
        if seconds > most:
            raise _too_slow(most)
        metrics.count("camera", [face.face for face in faces], seconds)
        return {
            "type": "faces",
            "time": round(message.seconds, 3),
            "width": image.shape[1],
            "height": image.shape[0],
            "faces": [face.as_dict() for face in faces],
            "neutral": own.state,
            "milliseconds": round(1000 * seconds, 2),
        }

    try:
        return await service.admission.run_for_camera(work)
    except SlowImageError as error:
        raise _too_slow(most) from error
    except ImageError as error:
        return {"type": "error", "code": "invalid_image_frame", "message": str(error)}
    except RefusedError as error:
        if error.status == 429:  # no decoder now; the next frame may find one
            return {"type": "error", "code": error.code, "message": str(error)}
        raise


def _too_slow(seconds: int) -> RefusedError:
    message = f"a frame took more than {seconds} s of work, in which other cameras wait: send smaller or simpler frames"
    return RefusedError(408, "too_slow", message)


async def _close(websocket: WebSocket, code: str, message: str) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # the other side may be gone
        if websocket.application_state is WebSocketState.CONNECTED:
            with anyio.move_on_after(2):  # nor does one that reads nothing hold the place
                await websocket.send_json({"type": "error", "code": code, "message": message})
                await websocket.close(_CLOSE[code], code)


def _token(websocket: WebSocket) -> str | None:
    scheme, _, given = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given
    for offered in websocket.scope["subprotocols"]:
        if offered.startswith(TOKEN_PREFIX):
            text = offered.removeprefix(TOKEN_PREFIX)
            with suppress(binascii.Error, ValueError):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    return None


def _told(limits: Limits) -> dict[str, int]:
    return {
        "frames_per_second": limits.max_camera_fps,
        "bytes": 1000 * limits.max_camera_kilobytes,
        "pixels": limits.max_camera_pixels,
        "idle_seconds": limits.max_camera_idle_seconds,
    }
