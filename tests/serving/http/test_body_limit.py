"""Bodies without a server: limits to the byte, and progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from fer_pipeline.serving.http.uploads import BodyLimit
from fer_pipeline.serving.settings import Limits
from tests.serving.receiving import receive_of, refusal, scope_of


async def _counted(scope: Scope, *chunks: bytes, pause: float = 0.0) -> int:
    """Bytes that pass the limit of bodies."""
    total = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal total
        for _ in chunks or ("none",):
            total += len((await receive()).get("body", b""))

    async def send(message: Message) -> None: ...

    await BodyLimit(app)(scope, receive_of(*(chunks or (b"",)), pause=pause), send)
    return total


@pytest.mark.parametrize(("path", "megabytes"), [("/predict", 1), ("/video", 3)])
@pytest.mark.parametrize("announced", [False, True])
def test_a_body_may_have_exactly_the_limit(path: str, megabytes: int, announced: bool) -> None:
    """As announced, or as it comes in pieces; one byte more is refused."""
    limits, size = Limits(max_upload_megabytes=1, max_video_megabytes=3), megabytes * 1_000_000

    def passed(total: int) -> Callable[[], Awaitable[int]]:
        headers = {"content_length": str(total)} if announced else {}
        chunks = () if announced else (bytes(size - 10), bytes(total - size + 10))
        return lambda: _counted(scope_of(limits, path, **headers), *chunks)

    assert anyio.run(passed(size)) == (0 if announced else size)
    words = f"the request is larger than {megabytes} MB"
    assert refusal(passed(size + 1)) == (413, "upload_too_large", words)


def test_lengths_that_are_no_number_and_other_messages_pass() -> None:
    assert anyio.run(lambda: _counted(scope_of(Limits(max_upload_megabytes=1), content_length="many"), b"12")) == 2
    assert anyio.run(lambda: _counted({**scope_of(Limits()), "type": "websocket", "app": None}, b"12")) == 2


STALL = SimpleNamespace(max_upload_megabytes=1, max_stall_seconds=0.3)


@pytest.mark.attack
def test_progress_of_an_upload_moves_the_deadline() -> None:
    """Pieces of 16 kB with a pause of 0.1 s come in within 0.3 s each; pieces of less do not, however many."""

    def counted(*chunks: bytes, pause: float = 0.1) -> Callable[[], Awaitable[int]]:
        return lambda: _counted(scope_of(STALL), *chunks, pause=pause)

    refused = (408, "too_slow", "the upload has sent less than 16000 bytes in 0 s")
    assert anyio.run(counted(*[bytes(16_000)] * 5)) == 80_000
    for pieces in ([b"."] * 20, [bytes(16_000), *[bytes(3000)] * 20]):
        assert refusal(counted(*pieces)) == refused
    assert refusal(counted(b"1", b"2", pause=0.4)) == refused


def test_a_whole_body_waits_for_the_end_of_its_connection() -> None:
    """What streams an answer listens for it without a limit."""
    answers = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    found: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.extend([(await receive())["type"], (await receive())["type"]])

    async def receive() -> Message:
        await anyio.sleep(0.4 if len(answers) == 1 else 0)
        return answers.pop(0)

    async def send(message: Message) -> None: ...

    anyio.run(lambda: BodyLimit(app)(scope_of(STALL), receive, send))
    assert found == ["http.request", "http.disconnect"]


def test_other_connections_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope, receive, send])

    scope, receive, send = {"type": "lifespan"}, receive_of(), receive_of()
    anyio.run(lambda: BodyLimit(app)(scope, receive, send))  # type: ignore[arg-type]
    assert seen == [scope, receive, send]
