"""The live camera: JPEG frames come in over a WebSocket, one JSON answer goes out for each, in their order.

Only the newest frame waits; an older one that is still waiting when it comes is answered "skipped". So the answers are never
older than one recognition, however slow the machine or fast the camera.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import decode
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.stream import FaceStream
from fer_pipeline.serving import metrics
from fer_pipeline.serving.access import check_origin
from fer_pipeline.serving.answers import lineage
from fer_pipeline.serving.desk import Desk
from fer_pipeline.serving.uploads import SIGNATURES, Limits, RefusedError

PROTOCOL = "fer.live.1"
PROTOCOL_WORDS = """\
Live cameras use the WebSocket `/live` (subprotocol `fer.live.1`, optional). The first message tells the model and
the limits: `{"type": "model", "model": ..., "limits": ...}`; it comes again where another model takes over. Then
each binary message with one JPEG frame is answered by one JSON message, in order, with the frame's number from 0:
`{"frame": 0, "type": "faces", "faces": [...], "width": ..., "height": ..., "time": ...}` with the faces of
`/predict` and besides `track`, `smoothed`, `smoothed_emotion` and `detected`; `{"frame": 1, "type": "skipped"}`
where a newer frame came before its turn; or `{"frame": 2, "type": "error", "code": ..., "message": ...}` with the
code `invalid_image_frame`, `message_too_large`, `rate_limited` or `invalid_message`. An error without a frame ends
the session: `unauthorized`, `forbidden_origin`, `overloaded`, `idle`, `flooded` or `internal_error`. The token goes
into the header `Authorization: Bearer TOKEN`, or into a further subprotocol, `bearer.` and the token in URL-safe
base64 without padding.
"""
TOKEN_PREFIX = "bearer."
"""A browser sets no headers on a WebSocket: it offers the token, in URL-safe base64 without padding, as another subprotocol."""

MOST_UNANSWERED = 64
"""Messages that may wait for their answer; who sends more without reading is cut off."""

DETECTION_SIDE = 320
"""Longer side, in pixels, of the copy that is searched for faces: who sits before a camera is near. On two sample videos as many
faces are found as at 640, in a quarter to a third of the time, which is nearly all the time that a frame takes."""

_CLOSE = {
    "unauthorized": 4401,
    "forbidden_origin": 4403,
    "overloaded": 4429,
    "idle": 4408,
    "flooded": 4408,
    "internal_error": 1011,
}

router = APIRouter()


@router.websocket("/live")
async def live(websocket: WebSocket) -> None:
    """One camera session, from the first message, which tells the model, to the close."""
    desk: Desk = websocket.app.state.desk
    await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
    try:
        check_origin(websocket.headers)  # browsers let any page open a WebSocket to any host
        desk.check_token(_token(websocket))
        with desk.camera(), metrics.CAMERAS.track_inprogress():
            await _session(websocket, desk)
    except WebSocketDisconnect:
        pass
    except RefusedError as error:
        metrics.REFUSED.labels(error.code).inc()
        await _close(websocket, error.code, str(error))
    except Exception:
        await _close(websocket, "internal_error", "the service failed on this session; its log says why")
        raise


@dataclass
class _Message:
    number: int
    seconds: float
    frame: bytes | None  # None where `answer` is known already
    answer: dict[str, Any] | None = None


class Inbox:
    """What came in and is not answered yet: at most one frame, and the numbers of those that will not be looked at."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._start = clock()
        self._waiting: deque[_Message] = deque()
        self._count = 0
        self._credit = float(limits.max_camera_fps)  # frames that may come at once; grows by one each 1 / fps seconds
        self._filled = self._start
        self._came = anyio.Event()

    def put(self, content: bytes | str) -> None:
        """Takes a message in. Raises `RefusedError` where too many are unanswered."""
        if len(self._waiting) >= MOST_UNANSWERED:
            raise RefusedError(
                429, "flooded", f"{MOST_UNANSWERED} messages unanswered: wait for the answer before the next frame"
            )
        message = _Message(self._count, self._clock() - self._start, None)
        self._count += 1
        fault = self._fault(content)
        if fault is not None:
            message.answer = {"type": "error", "code": fault[0], "message": fault[1]}
        else:
            assert isinstance(content, bytes)
            message.frame = content
            for older in self._waiting:
                if older.frame is not None:
                    older.frame, older.answer = None, {"type": "skipped"}
        self._waiting.append(message)
        self._came.set()

    async def take(self) -> _Message:
        """The oldest message; waits until there is one."""
        while not self._waiting:
            self._came = anyio.Event()
            await self._came.wait()
        return self._waiting.popleft()

    def _fault(self, content: bytes | str) -> tuple[str, str] | None:
        limits = self._limits
        if isinstance(content, str):
            return "invalid_message", "text came, expected a JPEG frame as a binary message"
        if len(content) > 1000 * limits.max_camera_kilobytes:
            return "message_too_large", f"frame of {len(content):,} bytes, at most {limits.max_camera_kilobytes} kB are read"
        if not self._in_time():
            return "rate_limited", f"more than {limits.max_camera_fps} frames in a second"
        if not content.startswith(SIGNATURES["JPEG"]):
            return "invalid_image_frame", "the frame is no JPEG"
        return None

    def _in_time(self) -> bool:
        now = self._clock()
        self._credit = min(self._limits.max_camera_fps, self._credit + (now - self._filled) * self._limits.max_camera_fps)
        self._filled = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True


async def _session(websocket: WebSocket, desk: Desk) -> None:
    inbox = Inbox(desk.limits)
    faults: list[RefusedError | WebSocketDisconnect] = []
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            try:
                while True:
                    with anyio.fail_after(desk.limits.max_camera_idle_seconds):
                        came = await websocket.receive()
                    if came["type"] == "websocket.disconnect":
                        raise WebSocketDisconnect(came.get("code", 1005))
                    content = came.get("bytes")
                    inbox.put(came["text"] if content is None else content)
            except TimeoutError:
                faults.append(RefusedError(408, "idle", f"no frame for {desk.limits.max_camera_idle_seconds} s"))
            except (RefusedError, WebSocketDisconnect) as error:
                faults.append(error)
            tasks.cancel_scope.cancel()

        async def tell(recognizer: Recognizer) -> None:
            await websocket.send_json({"type": "model", "model": lineage(recognizer), "limits": _told(desk.limits)})

        async def answer() -> None:
            stream = FaceStream(desk.recognizer, detection_side=DETECTION_SIDE)
            with suppress(WebSocketDisconnect):  # `read` hears of it too
                await tell(stream.recognizer)
                while True:
                    message = await inbox.take()
                    recognizer = desk.recognizer
                    if recognizer is not stream.recognizer:  # another model took over
                        stream.recognizer = recognizer
                        await tell(recognizer)
                    values = await _answer(desk, stream, message)
                    metrics.CAMERA_FRAMES.labels(values.get("code", values["type"])).inc()
                    await websocket.send_json({"frame": message.number, **values})

        tasks.start_soon(read)
        tasks.start_soon(answer)
    if faults:
        raise faults[0]


async def _answer(desk: Desk, stream: FaceStream, message: _Message) -> dict[str, Any]:
    frame = message.frame
    if frame is None:
        assert message.answer is not None
        return message.answer

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        image = decode(frame, ("JPEG",), desk.limits.max_camera_pixels)
        faces = stream.update(image, message.seconds)
        seconds = time.perf_counter() - start
        metrics.count("camera", [face.face for face in faces], seconds)
        return {
            "type": "faces",
            "time": round(message.seconds, 3),
            "width": image.shape[1],
            "height": image.shape[0],
            "faces": [face.as_dict() for face in faces],
            "milliseconds": round(1000 * seconds, 2),
        }

    try:
        return await desk.run_for_camera(work)
    except ImageError as error:
        return {"type": "error", "code": "invalid_image_frame", "message": str(error)}


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
