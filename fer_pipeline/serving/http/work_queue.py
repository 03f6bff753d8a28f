"""Bounded queue of requests that wait for one of a few threads.

A burst waits: up to `max_waiting` requests, each up to `max_wait_seconds`. The oldest is next. Where requests come faster than
they are done, the newest is: who is answered then has not waited long. Where that goes on although the queue is full, all but
the newest are refused, and one may wait until fewer come (looked at after 30 s at the latest): a queue that stays full would
only make each answer late.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
from starlette.requests import ClientDisconnect, Request

from fer_pipeline.serving.http.places import Places, client_address
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.settings import Limits

_RECENT = 16
_LONGEST_RETRY_SECONDS = 60
_GROWTH = 3.0
"""The newest is next while the oldest has waited less than so many times what the queue takes: where it grew in less time."""

_FULL_SECONDS = 2.0
"""Time over which a full queue refuses, without ever becoming empty, after which it is overloaded."""

_OVERLOAD = 0.25
"""Refusals for each work done, of late, above which an overload goes on."""

_LATE_SECONDS = 2.5
"""Mean age of what counts as of late."""

_OVERLOAD_SECONDS = 30.0
"""After so long the whole queue is tried again: a few clients that come back at once are refused often, too."""


class _LateCount:
    """Events, each counted less the longer ago it was."""

    def __init__(self) -> None:
        self._value, self._at = 0.0, -math.inf

    def add(self) -> None:
        self._value, self._at = self.value() + 1, time.monotonic()

    def value(self) -> float:
        return self._value * math.exp((self._at - time.monotonic()) / _LATE_SECONDS)


class _Waiting:
    def __init__(self) -> None:
        self.since = time.monotonic()
        self.decided = anyio.Event()
        self.has_turn = False


class WorkQueue:
    """Turns for work, `parallel` at the same time; for one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = limits.parallel
        self._waiting: list[_Waiting] = []  # oldest first
        self._places = Places(limits.max_waiting, limits.client_share_percent)
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT)  # of work, without waiting
        self._full_since: float | None = None
        self._overloaded_since: float | None = None
        self._done, self._refused = _LateCount(), _LateCount()

    @asynccontextmanager
    async def turn(self, request: Request) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs.

        Raises `RefusedError` (429) where too many wait, of all or of the request's address, or the turn does not come in time,
        and `ClientDisconnect` where the client leaves meanwhile.
        """
        if self._free:  # so nobody waits
            self._free -= 1
        else:
            await self._wait(request)
        start = time.monotonic()
        try:
            yield
        finally:
            self._recent_seconds.append(time.monotonic() - start)
            self._done.add()
            self._pass_on()

    async def _wait(self, request: Request) -> None:
        overloaded = self._is_overloaded()
        if len(self._waiting) >= (1 if overloaded else self._limits.max_waiting):
            self._refused.add()
            if not overloaded:
                self._note_full()
            self._refuse()
        with self._places.taken(client_address(request), self._retry_seconds()):
            one = _Waiting()
            self._waiting.append(one)
            try:
                fault = await self._decision(one, request)
            except BaseException:  # the server ends
                self._leave(one)
                raise
            if fault is not None:
                self._leave(one)
                raise fault
            if not one.has_turn:
                self._leave(one)
                self._refuse()

    async def _decision(self, one: _Waiting, request: Request) -> Exception | None:
        """Wait for the turn, the refusal, or the end of the time.

        Returns what ends the request meanwhile: its client leaves, or sends a body too slowly.
        """
        fault: Exception | None = None
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                nonlocal fault
                try:
                    while (await request.receive())["type"] != "http.disconnect":
                        pass  # of a body that nobody needs
                    fault = ClientDisconnect()
                except RefusedError as error:
                    fault = error
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            with anyio.move_on_after(self._limits.max_wait_seconds):
                await one.decided.wait()
            tasks.cancel_scope.cancel()
        return fault

    def _leave(self, one: _Waiting) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
        elif one.has_turn:
            self._pass_on()

    def _pass_on(self) -> None:
        if not self._waiting:
            self._free += 1
            self._full_since = None
            return
        queue_seconds = self._mean_seconds() * len(self._waiting) / self._limits.parallel
        grows = time.monotonic() - self._waiting[0].since < _GROWTH * queue_seconds
        one = self._waiting.pop(-1 if grows or self._full_since is not None else 0)
        one.has_turn = True
        one.decided.set()

    def _is_overloaded(self) -> bool:
        if self._overloaded_since is not None:
            few = self._refused.value() < max(1.0, _OVERLOAD * self._done.value())
            if few or time.monotonic() - self._overloaded_since > _OVERLOAD_SECONDS:
                self._overloaded_since = None
        return self._overloaded_since is not None

    def _note_full(self) -> None:
        now = time.monotonic()
        self._full_since = now if self._full_since is None else self._full_since
        if now - self._full_since > _FULL_SECONDS:
            self._overloaded_since, self._full_since = now, None
            while len(self._waiting) > 1:
                self._waiting.pop(0).decided.set()

    def _refuse(self) -> NoReturn:
        seconds = self._retry_seconds()
        raise RefusedError(429, "overloaded", f"too many requests at once; try again in {seconds} s", seconds)

    def _retry_seconds(self) -> int:
        """Seconds until the present work is done, estimated from recent work: 1 to 60."""
        present = len(self._waiting) + self._limits.parallel - self._free
        seconds = math.ceil(self._mean_seconds() * present / self._limits.parallel)
        return min(max(1, seconds), _LONGEST_RETRY_SECONDS)

    def _mean_seconds(self) -> float:
        return sum(self._recent_seconds) / len(self._recent_seconds) if self._recent_seconds else 0.0
