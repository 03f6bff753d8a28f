"""One client takes all that it can; another one is still served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http.admission import MAX_DOWNLOADS, AdmissionController
from fer_pipeline.serving.http.places import Places, client_address, share_of
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import FLAT_FACE, app_of, error_of

pytestmark = pytest.mark.attack

GREEDY, OTHER = "192.0.2.1", "192.0.2.2"
FORM = {"content-type": "multipart/form-data; boundary=x"}


def client(app: FastAPI, address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://test")


def connection(host: str | None) -> HTTPConnection:
    return HTTPConnection({"type": "http", "client": None if host is None else (host, 1)})


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        (None, ""),
    ],
)
def test_addresses_of_one_network_are_one_client(host: str | None, address: str) -> None:
    """Who has an address of IPv6 has the whole /64."""
    assert client_address(connection(host)) == address


@pytest.mark.parametrize(("most", "percent", "share"), [(32, 50, 16), (3, 50, 2), (1, 50, 1), (64, 1, 1), (8, 100, 8)])
def test_a_share_is_at_least_one_place(most: int, percent: int, share: int) -> None:
    assert share_of(most, percent) == share


def test_places_are_free_again() -> None:
    places = Places(3, 50)
    for _ in range(3):
        with places.taken("a"), places.taken("a"), places.taken("b"):
            assert len(places) == 3
            for name, code in (("c", "overloaded"), ("a", "overloaded")):
                with pytest.raises(RefusedError) as refused, places.taken(name):
                    pass
                assert (refused.value.status, refused.value.code) == (429, code)
        with places.taken("a"), places.taken("a"), pytest.raises(RefusedError, match="2 of these come from your address"):
            places.taken("a").__enter__()
    assert len(places) == 0


def take_all(held: ExitStack, place: Callable[[], AbstractContextManager[None]]) -> None:
    for _ in range(MAX_DOWNLOADS):
        held.enter_context(place())


@pytest.mark.parametrize("kind", ["upload", "listener", "download", "camera"])
def test_no_client_takes_all_places_of_a_kind(kind: str) -> None:
    admission = AdmissionController(Limits())
    with ExitStack() as held:
        with pytest.raises(RefusedError) as refused:
            take_all(held, partial(getattr(admission, kind), connection(GREEDY)))
        assert refused.value.code == "share_taken"
        held.enter_context(getattr(admission, kind)(connection(OTHER)))


def test_uploads_that_trickle_leave_others_a_place(brightness_model: Path) -> None:
    """As many as may come in at all, each a byte now and then; they end when too little has come for some time."""
    app = app_of(Recognizer.load(brightness_model), Limits(max_uploads=32, max_stall_seconds=1))

    async def trickle() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        for _ in range(100):
            await asyncio.sleep(0.1)
            yield b"."

    async def ask() -> tuple[list[httpx.Response], httpx.Response]:
        async with client(app, GREEDY) as greedy, client(app, OTHER) as other:
            sent = [asyncio.create_task(greedy.post("/predict", content=trickle(), headers=FORM)) for _ in range(32)]
            while sum(task.done() for task in sent) < 16:
                await asyncio.sleep(0.01)
            served = await other.post("/predict?framing=face", files={"picture": FLAT_FACE})
            return await asyncio.gather(*sent), served

    answers, served = asyncio.run(asyncio.wait_for(ask(), 9))
    assert served.status_code == 200
    assert (
        sorted((answer.status_code, error_of(answer)) for answer in answers)
        == [(408, "too_slow")] * 16 + [(429, "share_taken")] * 16
    )
    assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 429} == {"1"}


def test_videos_of_one_client_leave_others_a_place(services: Any, film: bytes) -> None:
    """Eight that trickle were all that may be sent."""
    service = services(Limits(max_stall_seconds=1))

    async def trickle() -> AsyncIterator[bytes]:
        yield film[:20]
        for _ in range(100):
            await asyncio.sleep(0.1)
            yield b"."

    async def ask() -> tuple[list[httpx.Response], httpx.Response]:
        app = service.http.app
        async with client(app, GREEDY) as greedy, client(app, OTHER) as other:
            sent = [asyncio.create_task(greedy.post("/video", content=trickle())) for _ in range(8)]
            while sum(task.done() for task in sent) < 4:
                await asyncio.sleep(0.01)
            served = await other.post("/video", content=film)
            return await asyncio.gather(*sent), served

    answers, served = asyncio.run(asyncio.wait_for(ask(), 20))
    assert served.status_code == 202
    assert sorted(error_of(answer) for answer in answers) == ["share_taken"] * 4 + ["too_slow"] * 4


def test_results_of_one_client_leave_others_a_place(brightness_model: Path, root: Path) -> None:
    jobs = VideoJobs(root, brightness_model, Limits(max_video_results=3))
    with ExitStack() as kept:
        for name in (GREEDY, GREEDY):
            folder = kept.enter_context(jobs.receiving(name))
            (folder / "state.json").write_text('{"state": "done"}')
        with pytest.raises(RefusedError, match="2 video\\(s\\) of your address are kept") as refused:
            kept.enter_context(jobs.receiving(GREEDY))
        assert (refused.value.status, refused.value.code) == (429, "share_taken")
        kept.enter_context(jobs.receiving(OTHER))
        assert GREEDY.encode() not in b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
