from __future__ import annotations

import json

import anyio
import pytest

from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.routes.frame_queue import MAX_UNANSWERED, FrameQueue
from fer_pipeline.serving.settings import Limits
from tests.serving.cameras import EMPTY


def test_too_many_frames_a_second_are_refused() -> None:
    """More frames a second than allowed are refused and credit comes back."""
    now = 0.0
    inbox = FrameQueue(Limits(max_camera_fps=2), lambda: now)
    outcomes = []

    async def put() -> None:
        inbox.put(EMPTY)
        outcomes.append(((await inbox.take()).answer or {"code": "taken"})["code"])

    async def scenario() -> None:
        nonlocal now
        for _ in range(3):
            await put()
        now = 0.5
        for _ in range(2):
            await put()

    anyio.run(scenario)
    assert outcomes == ["taken", "taken", "rate_limited", "taken", "rate_limited"]


def test_at_most_one_frame_waits_however_many_come() -> None:
    inbox = FrameQueue(Limits(max_camera_fps=1000))
    for _ in range(MAX_UNANSWERED):
        inbox.put(EMPTY)
    assert sum(message.frame is not None for message in inbox._waiting) == 1
    with pytest.raises(RefusedError, match="unanswered"):
        inbox.put(EMPTY)


def test_neutral_messages_fall_under_the_limit_of_frames() -> None:
    inbox = FrameQueue(Limits(max_camera_fps=2), lambda: 0.0)
    taken = []

    async def scenario() -> None:
        for action in ("collect", "clear", "collect"):
            assert not inbox.put(json.dumps({"type": "neutral", "action": action}))  # nor does it keep a session
            taken.append(await inbox.take())

    anyio.run(scenario)
    assert [message.neutral for message in taken] == ["collect", "clear", None]
    assert taken[2].answer == {"type": "error", "code": "rate_limited", "message": "more than 2 messages in a second"}
