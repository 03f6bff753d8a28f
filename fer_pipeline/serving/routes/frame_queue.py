"""Latest-frame queue; older unprocessed frames are dropped."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import anyio

from fer_pipeline.inference.smoothing import TEMPORAL_MODES, TemporalMode
from fer_pipeline.serving.http.uploads import SIGNATURES, RefusedError
from fer_pipeline.serving.settings import Limits

MAX_UNANSWERED = 64
"""Messages that may wait for their answer; who sends more without reading is cut off."""

MAX_STARTS = 10
"""Start messages of a session; they cost no frame, and so fall under no other limit."""

_TEXT_LENGTH = 200  # of a text message, in characters


NeutralAction = Literal["collect", "clear"]
"""What a message about the own neutral face asks for."""


@dataclass
class Message:
    """One message of a camera, `seconds` after its session began."""

    number: int
    seconds: float
    frame: bytes | None  # None where `answer` is known already
    answer: dict[str, Any] | None = None
    temporal: TemporalMode | None = None  # of a start message, which is no frame and has no number
    neutral: NeutralAction | None = None  # of a message about the own neutral face; neither a frame


class FrameQueue:
    """Unanswered messages of a camera: at most one frame, and skipped numbers."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._start = clock()
        self._waiting: deque[Message] = deque()
        self._count = 0
        self._starts = 0
        self._credit = float(limits.max_camera_fps)  # frames that may come at once; grows by one each 1 / fps seconds
        self._filled = self._start
        self._came = anyio.Event()

    def put(self, content: bytes | str) -> bool:
        """Add a message; whether it is a frame to look at.

        Raises `RefusedError` where too many are unanswered.
        """
        if len(self._waiting) >= MAX_UNANSWERED:
            raise RefusedError(429, "flooded", f"{MAX_UNANSWERED} messages unanswered: wait for the answer before the next frame")
        message = Message(self._count, self._clock() - self._start, None)
        message.temporal = _chosen_temporal(content) if self._count == 0 else None
        if message.temporal is not None:
            self._starts += 1
            if self._starts > MAX_STARTS:
                raise RefusedError(429, "flooded", f"more than {MAX_STARTS} start messages: choose once, then send frames")
            self._waiting.append(message)
            self._came.set()
            return False
        message.neutral = _neutral_action(content)
        if message.neutral is not None and self._in_time():  # it falls under the limit of frames
            self._waiting.append(message)
            self._came.set()
            return False
        message.neutral = None
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
        return fault is None

    async def take(self) -> Message:
        """The oldest message; waits until there is one."""
        while not self._waiting:
            self._came = anyio.Event()
            await self._came.wait()
        return self._waiting.popleft()

    def _fault(self, content: bytes | str) -> tuple[str, str] | None:
        limits = self._limits
        if isinstance(content, str):
            if _neutral_action(content) is not None:
                return "rate_limited", f"more than {limits.max_camera_fps} messages in a second"
            words = "text came, expected a JPEG frame as a binary message, a neutral or, before the first frame, a start message"
            return "invalid_message", words
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


def _neutral_action(content: bytes | str) -> NeutralAction | None:
    """What a message about the own neutral face asks for; None for any other message."""
    values = _short_json(content)
    known = isinstance(values, dict) and set(values) == {"type", "action"} and values["type"] == "neutral"
    return next((action for action in get_args(NeutralAction) if action == values["action"]), None) if known else None


def _chosen_temporal(content: bytes | str) -> TemporalMode | None:
    """What a start message chooses; None for any other message."""
    values = _short_json(content)
    known = isinstance(values, dict) and set(values) == {"type", "temporal"} and values["type"] == "start"
    return next((way for way in TEMPORAL_MODES if way == values["temporal"]), None) if known else None


def _short_json(content: bytes | str) -> Any:
    if not isinstance(content, str) or len(content) > _TEXT_LENGTH:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return None
