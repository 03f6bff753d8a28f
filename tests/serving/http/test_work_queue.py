"""Bursts wait and are answered; overload, absent and slow clients take no place from others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http import work_queue
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.http.work_queue import WorkQueue
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import FLAT_FACE, app_of

ALL_OF_ONE = Limits(client_share_percent=100)


class Crowd:
    """Requests to a queue, by number; each one's work lasts until `finish`, or a second of its clock."""

    def __init__(self, limits: Limits = ALL_OF_ONE) -> None:
        self.queue = WorkQueue(limits)
        self.working: list[int] = []
        self.done: list[int] = []
        self.refused: dict[int, str] = {}
        self.left: list[int] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._gone: list[asyncio.Event] = []
        self._finish: dict[int, asyncio.Event] = {}

    async def come(self, most: int = 1, address: str = "192.0.2.1") -> None:
        for _ in range(most):
            self._gone.append(asyncio.Event())
            self._tasks.append(asyncio.create_task(self._one(len(self._tasks), address)))
        await self.settle()

    async def finish(self, number: int | None = None) -> None:
        self._finish[self.working[0] if number is None else number].set()
        await self.settle()

    async def leave(self, number: int) -> None:
        self._gone[number].set()
        await self.settle()

    async def end(self) -> None:
        while self.working:
            await self.finish()
        await asyncio.gather(*self._tasks)
        assert (self.queue._free, self.queue._waiting, len(self.queue._places)) == (self.queue._limits.parallel, [], 0)

    @staticmethod
    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def _one(self, number: int, address: str) -> None:
        async def receive() -> dict[str, Any]:
            await self._gone[number].wait()
            return {"type": "http.disconnect"}

        try:
            async with self.queue.turn(Request({"type": "http", "client": (address, 1)}, receive)):
                self.working.append(number)
                self._finish[number] = asyncio.Event()
                await self._finish[number].wait()
                self.working.remove(number)
                self.done.append(number)
        except RefusedError as error:
            self.refused[number] = f"{error.status} {error.code}"
        except ClientDisconnect:
            self.left.append(number)


def played(play: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(play(), 10))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The queue's clock; a test moves it by `clock.now += seconds`."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(work_queue, "time", clock)
    return clock


def test_twenty_pictures_of_eight_clients_are_answered(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model))

    async def ask() -> list[int]:
        numbers = iter(range(20))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:

            async def one() -> list[int]:
                files = {"picture": FLAT_FACE}
                return [(await http.post("/predict?framing=face", files=files)).status_code for _ in numbers]

            return [status for statuses in await asyncio.gather(*(one() for _ in range(8))) for status in statuses]

    assert asyncio.run(asyncio.wait_for(ask(), 20)) == [200] * 20


def test_thirty_two_wait_beside_those_at_work(clock: SimpleNamespace) -> None:
    async def play() -> None:
        crowd = Crowd()
        await crowd.come(40)
        assert crowd.refused == dict.fromkeys(range(34, 40), "429 overloaded")
        await crowd.end()
        assert sorted(crowd.done) == list(range(34))

    played(play)


def test_a_turn_that_does_not_come_in_time_is_refused() -> None:
    async def play() -> None:
        crowd = Crowd(Limits(parallel=1, max_wait_seconds=1))
        await crowd.come(2)
        await asyncio.sleep(1.1)
        assert (crowd.working, crowd.refused) == ([0], {1: "429 overloaded"})
        await crowd.end()

    played(play)


@pytest.mark.attack
def test_one_client_leaves_others_a_place_in_the_queue(clock: SimpleNamespace) -> None:
    async def play() -> None:
        crowd = Crowd(Limits())
        await crowd.come(40)
        assert crowd.refused == dict.fromkeys(range(18, 40), "429 share_taken")
        await crowd.come(1, "192.0.2.2")
        assert 40 not in crowd.refused
        await crowd.end()

    played(play)


@pytest.mark.attack
def test_who_leaves_gives_the_place_back(clock: SimpleNamespace) -> None:
    """Also where the turn comes at the same moment; who is worked for keeps the thread until the work is done."""

    async def play() -> None:
        crowd = Crowd(Limits(parallel=1, max_waiting=2, client_share_percent=100))
        await crowd.come(4)
        assert crowd.refused == {3: "429 overloaded"}
        await crowd.leave(1)
        await crowd.come()
        assert (crowd.left, crowd.refused) == ([1], {3: "429 overloaded"})
        crowd._gone[2].set()
        crowd._gone[4].set()
        await crowd.finish()
        await crowd.come()
        await crowd.end()
        assert sorted(crowd.left + crowd.done) == [0, 1, 2, 4, 5]
        assert {0, 5} <= set(crowd.done)

    played(play)


@pytest.mark.attack
def test_a_server_that_ends_gives_all_places_back(clock: SimpleNamespace) -> None:
    async def play() -> None:
        crowd = Crowd(Limits(parallel=1))
        await crowd.come(3)
        for task in crowd._tasks[1:]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        crowd._tasks = crowd._tasks[:1]
        await crowd.end()

    played(play)


@pytest.mark.attack
def test_a_body_that_trickles_while_it_waits_is_refused(clock: SimpleNamespace) -> None:
    async def play() -> None:
        queue = WorkQueue(Limits(parallel=1))

        async def receive() -> dict[str, Any]:
            raise RefusedError(408, "too_slow", "too slow")

        async with queue.turn(Request({"type": "http"})):
            with pytest.raises(RefusedError, match="too slow"):
                async with queue.turn(Request({"type": "http", "client": None}, receive)):
                    pytest.fail("there is one turn")
        assert (queue._free, queue._waiting) == (1, [])

    played(play)


def test_no_client_that_waits_for_its_answers_is_forgotten(clock: SimpleNamespace) -> None:
    """Eight of them, one thread, a second of work: none waits for ever."""

    async def play() -> None:
        crowd = Crowd(Limits(parallel=1, client_share_percent=100))
        await crowd.come(8)
        came = dict.fromkeys(range(8), 0.0)
        waits = []
        for number in range(8, 60):
            clock.now += 1
            current = crowd.working[0]
            waits.append(clock.now - came[current])
            await crowd.finish()
            came[number] = clock.now
            await crowd.come()
        assert crowd.refused == {}
        assert set(range(60 - 4 * 8)) <= set(crowd.done)
        assert max(waits) <= 4 * 8
        await crowd.end()

    played(play)


def test_under_overload_hardly_anybody_waits_long(clock: SimpleNamespace) -> None:
    """Twice what can be done, for 25 seconds: who is answered has waited for a few works, and work never stops."""

    async def play() -> None:
        crowd = Crowd(Limits(parallel=1, client_share_percent=100))
        came: dict[int, float] = {}
        waits: list[float] = []
        for number in range(500):
            came[number] = clock.now
            await crowd.come()
            clock.now += 0.05
            if number % 2:
                current = crowd.working[0]
                waits.append(clock.now - came[current])
                await crowd.finish()
        assert len(waits) == 250
        assert sorted(waits)[int(0.99 * len(waits))] <= 0.4
        assert len(crowd.queue._waiting) <= 1
        clock.now += 10
        await crowd.come(20)
        await crowd.end()
        assert len(crowd.done) + len(crowd.refused) == 520
        assert not {number for number in crowd.refused if number >= 500}  # a burst waits again

    played(play)


def test_a_few_that_come_back_at_once_wait_again_in_the_end(clock: SimpleNamespace) -> None:
    """Eight clients that do not heed Retry-After are refused as often as a crowd."""

    async def play() -> None:
        crowd = Crowd(Limits(parallel=1, max_waiting=6, client_share_percent=100))
        for _ in range(30):  # a crowd
            await crowd.come(8)
            clock.now += 0.1
        assert len(crowd.queue._waiting) == 1
        for _ in range(400):
            clock.now += 0.1
            await crowd.finish()
            await crowd.come(6 - len(crowd.queue._waiting))
        refused = len(crowd.refused)
        for _ in range(20):
            clock.now += 0.1
            await crowd.finish()
            await crowd.come()
        assert len(crowd.refused) == refused
        assert len(crowd.queue._waiting) == 6
        await crowd.end()

    played(play)
