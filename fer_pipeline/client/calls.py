"""Calls of the service, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

import httpx

from fer_pipeline.client.answers import Model, Picture, Prediction, ServiceError, VideoState

Framing = Literal["auto", "face"]
Temporal = Literal["smooth", "hmm", "none"]
Content = bytes | str | PathLike[str]
"""The bytes of a picture or video, or its path."""

Answer = TypeVar("Answer")

DEFAULT_ADDRESS = "http://127.0.0.1:3000"
_SECONDS = httpx.Timeout(60, connect=10)
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class _Call(Generic[Answer]):
    """One request, and how its response is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    params: Mapping[str, str | int] = field(default_factory=dict)
    content: bytes | None = None
    files: list[tuple[str, tuple[str, bytes]]] | None = None

    def options(self) -> dict[str, Any]:
        kind = {} if self.content is None else {"headers": {"Content-Type": "application/octet-stream"}}
        return {"params": self.params, "content": self.content, "files": self.files, **kind}

    def answer(self, response: httpx.Response) -> Answer:
        if response.is_success:
            return self.read(response)
        code, message = "http_error", f"{response.status_code} {response.reason_phrase}"
        with suppress(ValueError, KeyError, TypeError):  # a proxy in front answers otherwise
            error = response.json()["error"]
            code, message = error["code"], error["message"]
        retry = response.headers.get("Retry-After", "")
        raise ServiceError(response.status_code, code, message, int(retry) if retry.isdecimal() else None)


def _predict(picture: Content, framing: Framing) -> _Call[Prediction]:
    return _Call("POST", "/predict", lambda r: Prediction.of(r.json()), {"framing": framing}, _bytes(picture))


def _predict_batch(pictures: Iterable[Content], framing: Framing) -> _Call[list[Picture]]:
    files = [("pictures", ("picture", _bytes(picture))) for picture in pictures]
    read = lambda r: [Picture.of(item) for item in r.json()["pictures"]]  # noqa: E731
    return _Call("POST", "/predict/batch", read, {"framing": framing}, files=files)


def _annotate(picture: Content, format_: Literal["jpeg", "png"]) -> _Call[bytes]:
    return _Call("POST", "/annotate", lambda r: r.content, {"format": format_}, _bytes(picture))


def _explain(picture: Content, face: int, framing: Framing) -> _Call[bytes]:
    return _Call("POST", "/explain", lambda r: r.content, {"framing": framing, "face": face}, _bytes(picture))


def _model() -> _Call[Model]:
    return _Call("GET", "/model", lambda r: Model.of(r.json()))


def _send_video(video: Content, temporal: Temporal) -> _Call[VideoState]:
    return _Call("POST", "/video", lambda r: VideoState.of(r.json()), {"temporal": temporal}, _bytes(video))


def _video(job: str) -> _Call[VideoState]:
    return _Call("GET", f"/video/{job}", lambda r: VideoState.of(r.json()))


def _video_file(job: str, name: str) -> _Call[bytes]:
    return _Call("GET", f"/video/{job}/files/{name}", lambda r: r.content)


def _delete_video(job: str) -> _Call[None]:
    return _Call("DELETE", f"/video/{job}", lambda _: None)


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else Path(content).read_bytes()


def _headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


class Client:
    """Client for threads; close it, or use it as a context manager.

    Every method raises `ServiceError` where the service refuses, `httpx.TransportError` where it cannot be reached, and `OSError`
    where a file cannot be read.
    """

    def __init__(
        self, address: str = DEFAULT_ADDRESS, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Open a client of the service at `address`; `token` is its FER_TOKEN."""
        self._http = httpx.Client(base_url=address, headers=_headers(token), timeout=_SECONDS, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, picture: Content, framing: Framing = "auto") -> Prediction:
        """Recognize the faces of a picture; with framing "face" it is one face."""
        return self._call(_predict(picture, framing))

    def predict_batch(self, pictures: Iterable[Content], framing: Framing = "auto") -> list[Picture]:
        """Recognize the faces of several pictures; one that cannot be read has an error."""
        return self._call(_predict_batch(pictures, framing))

    def annotate(self, picture: Content, format: Literal["jpeg", "png"] = "jpeg") -> bytes:  # noqa: A002
        """Return the picture with boxes and emotions drawn in."""
        return self._call(_annotate(picture, format))

    def explain(self, picture: Content, face: int = 1, framing: Framing = "auto") -> bytes:
        """Return the heat map of a face as PNG; faces are numbered from 1."""
        return self._call(_explain(picture, face, framing))

    def model(self) -> Model:
        """Return the metadata of the model."""
        return self._call(_model())

    def send_video(self, video: Content, temporal: Temporal = "hmm") -> VideoState:
        """Send a video; its analysis goes on in the service."""
        return self._call(_send_video(video, temporal))

    def video(self, job: str) -> VideoState:
        """Return the state of a video."""
        return self._call(_video(job))

    def wait_for_video(self, job: str, seconds: float = 900) -> VideoState:
        """Return the state of a video once its analysis has ended.

        Raises `TimeoutError` after `seconds`.
        """
        end = time.monotonic() + seconds
        while not (state := self.video(job)).finished:
            if time.monotonic() >= end:
                raise TimeoutError(f"video {job} is {state.state} after {seconds:g} s: wait longer, or delete it")
            time.sleep(_POLL_SECONDS)
        return state

    def video_file(self, job: str, name: str) -> bytes:
        """Return a result of a video, by its name in `files`."""
        return self._call(_video_file(job, name))

    def delete_video(self, job: str) -> None:
        """End the analysis of a video, and remove it and its results."""
        self._call(_delete_video(job))

    def _call(self, call: _Call[Answer]) -> Answer:
        return call.answer(self._http.request(call.method, call.path, **call.options()))


class AsyncClient:
    """Client for asyncio, with the methods of `Client`."""

    def __init__(
        self, address: str = DEFAULT_ADDRESS, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Open a client of the service at `address`; `token` is its FER_TOKEN."""
        self._http = httpx.AsyncClient(base_url=address, headers=_headers(token), timeout=_SECONDS, transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(self, picture: Content, framing: Framing = "auto") -> Prediction:
        """Recognize the faces of a picture; with framing "face" it is one face."""
        return await self._call(_predict(picture, framing))

    async def predict_batch(self, pictures: Iterable[Content], framing: Framing = "auto") -> list[Picture]:
        """Recognize the faces of several pictures; one that cannot be read has an error."""
        return await self._call(_predict_batch(pictures, framing))

    async def annotate(self, picture: Content, format: Literal["jpeg", "png"] = "jpeg") -> bytes:  # noqa: A002
        """Return the picture with boxes and emotions drawn in."""
        return await self._call(_annotate(picture, format))

    async def explain(self, picture: Content, face: int = 1, framing: Framing = "auto") -> bytes:
        """Return the heat map of a face as PNG; faces are numbered from 1."""
        return await self._call(_explain(picture, face, framing))

    async def model(self) -> Model:
        """Return the metadata of the model."""
        return await self._call(_model())

    async def send_video(self, video: Content, temporal: Temporal = "hmm") -> VideoState:
        """Send a video; its analysis goes on in the service."""
        return await self._call(_send_video(video, temporal))

    async def video(self, job: str) -> VideoState:
        """Return the state of a video."""
        return await self._call(_video(job))

    async def wait_for_video(self, job: str, seconds: float = 900) -> VideoState:
        """Return the state of a video once its analysis has ended.

        Raises `TimeoutError` after `seconds`.
        """
        async with asyncio.timeout(seconds):
            while not (state := await self.video(job)).finished:
                await asyncio.sleep(_POLL_SECONDS)
            return state

    async def video_file(self, job: str, name: str) -> bytes:
        """Return a result of a video, by its name in `files`."""
        return await self._call(_video_file(job, name))

    async def delete_video(self, job: str) -> None:
        """End the analysis of a video, and remove it and its results."""
        await self._call(_delete_video(job))

    async def _call(self, call: _Call[Answer]) -> Answer:
        return call.answer(await self._http.request(call.method, call.path, **call.options()))
