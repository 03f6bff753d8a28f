"""Requests without a server, and how they are refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope

from fer_pipeline.serving.http.uploads import RefusedError


def scope_of(limits: Any, path: str = "/predict", **headers: str) -> Scope:
    app = SimpleNamespace(state=SimpleNamespace(admission=SimpleNamespace(limits=limits)))
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": path, "headers": named, "app": app}


def receive_of(*chunks: bytes, pause: float = 0.0) -> Receive:
    left = list(chunks)

    async def receive() -> Message:
        await anyio.sleep(pause)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


def refusal(call: Callable[[], Awaitable[Any]]) -> tuple[int, str, str]:
    with pytest.raises(RefusedError) as caught:
        anyio.run(call)
    return caught.value.status, caught.value.code, str(caught.value)
