"""Read and check uploads: size, time, form fields, signatures of formats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fer_pipeline.errors import FerError
from fer_pipeline.imaging import ALLOWED_FORMATS, HEIF_BRANDS
from fer_pipeline.serving.settings import Limits

SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "AVIF": (b"ftypavif", b"ftypavis"),
    "HEIF": tuple(b"ftyp" + brand for brand in HEIF_BRANDS),
}
"""First bytes of each format of `imaging.ALLOWED_FORMATS`.

Those of AVIF and HEIF begin at byte 4; WebP has "WEBP" at byte 8 besides.
"""

CONTAINERS = {"MP4 or MOV": (4, b"ftyp"), "WebM or MKV": (0, b"\x1aE\xdf\xa3"), "AVI": (8, b"AVI ")}
"""Position and bytes by which each container that is read is known."""


MIN_PROGRESS = 16_000
"""Bytes of an upload that must come within `max_stall_seconds`, unless it ends: 6.4 kbit/s with 20 s."""

RAW_KINDS = ("application/octet-stream", "image/", "application/x-www-form-urlencoded")
"""Kinds of bodies that are taken as the picture itself; the last is what `curl --data-binary` says of any file."""

NEUTRAL_FIELD = "neutral"
"""Form field of a picture of the same person without an expression."""

_CHUNK_BYTES = 1 << 20
_ROOM_SECONDS = 300  # a disk is seldom cleared sooner


class RefusedError(FerError):
    """A request that is refused, with its HTTP status, error code and message.

    `retry_seconds` is the Retry-After of a 429: when it may be worth another try.
    """

    def __init__(self, status: int, code: str, message: str, retry_seconds: int = 1) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_seconds = retry_seconds


class BodyLimit:
    """ASGI middleware that refuses bodies that are too large or stand still.

    Bytes are counted as they come: 413 over the size limit, 408 where less than `MIN_PROGRESS` come in `max_stall_seconds`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits: Limits = scope["app"].state.admission.limits
        most = limits.max_video_megabytes if scope["path"] == "/video" else limits.max_upload_megabytes
        allowed = most * 1_000_000
        announced = Headers(scope=scope).get("content-length", "0")
        received = fresh = 0
        left = float(limits.max_stall_seconds)  # of waiting, until some progress
        ended = scope["method"] in ("GET", "HEAD")  # these have no body

        async def counted() -> Message:
            nonlocal received, fresh, left, ended
            if announced.isdecimal() and int(announced) > allowed:
                raise _too_large(most)
            if ended:  # what may come is the end of the connection
                return await receive()
            start = anyio.current_time()
            with in_time(left, f"has sent less than {MIN_PROGRESS} bytes in", limits.max_stall_seconds):
                message = await receive()
            left -= anyio.current_time() - start
            size = len(message.get("body", b""))
            received, fresh, ended = received + size, fresh + size, not message.get("more_body", False)
            if fresh >= MIN_PROGRESS:
                fresh, left = 0, float(limits.max_stall_seconds)
            if received > allowed:
                raise _too_large(most)
            return message

        await self._app(scope, counted, send)


async def read_video(request: Request, target: Path) -> None:
    """Write a video to a file: the body, or the file `video` of a form.

    Raises `RefusedError`.
    """
    limits: Limits = request.app.state.admission.limits
    head = b""
    with in_time(10 * limits.max_upload_seconds), target.open("wb") as file:
        async for chunk in _video_chunks(request):
            if len(head) < 12:
                head += chunk[:12]
                if len(head) >= 12:
                    _check_container(head)
            try:
                file.write(chunk)
            except OSError as error:
                raise RefusedError(429, "disk_full", "there is no room for the video; try again later", _ROOM_SECONDS) from error
    if not head:
        raise RefusedError(422, "empty_video", "the body has no bytes")
    _check_container(head)


async def _video_chunks(request: Request) -> AsyncIterator[bytes]:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async for chunk in request.stream():
            yield chunk
        return
    try:
        form = await request.form(max_files=2, max_fields=1)  # it goes to disk as it comes
    except OSError as error:
        raise RefusedError(429, "disk_full", "there is no room for the video; try again later", _ROOM_SECONDS) from error
    try:
        (video,) = _files(form, "video", 1)
        while chunk := await video.read(_CHUNK_BYTES):
            yield chunk
    finally:
        await form.close()


async def read_pictures(request: Request, field: str, most: int, *, check: bool = True) -> list[bytes]:
    """Return the 1 to `most` files attached under `field` of a multipart form.

    Where `most` is 1, the picture may also be the body itself. Each has the signature of an allowed format; without `check` that
    is left to the caller, who judges them one by one.

    Raises `RefusedError`.
    """
    limits: Limits = request.app.state.admission.limits
    kind = request.headers.get("content-type", "").lower()
    if most == 1 and kind.startswith(RAW_KINDS):
        with in_time(limits.max_upload_seconds):
            pictures = [await request.body()]
    elif kind.startswith("multipart/form-data"):
        with in_time(limits.max_upload_seconds):
            form = await request.form(max_files=most + 1, max_fields=1)
        try:
            pictures = [await file.read() for file in _files(form, field, most)]
        finally:
            await form.close()  # removes what had gone to disk
    else:
        raw = f", or the picture itself as {', '.join(RAW_KINDS[:2])}" if most == 1 else ""
        raise RefusedError(415, "not_multipart", f"expected multipart/form-data with the picture in the field {field!r}{raw}")
    if check:
        for number, data in enumerate(pictures, 1):
            check_signature(data, number)
    return pictures


async def read_with_neutral(request: Request) -> tuple[bytes, bytes | None]:
    """Return the picture under `picture`, and the one under `neutral`.

    Without a form the picture is the body, and there is no neutral one. Raises `RefusedError` as `read_pictures`.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return (await read_pictures(request, "picture", 1))[0], None
    limits: Limits = request.app.state.admission.limits
    with in_time(limits.max_upload_seconds):
        form = await request.form(max_files=3, max_fields=1)
    try:
        given = form.getlist(NEUTRAL_FIELD)
        others = FormData([(name, value) for name, value in form.multi_items() if name != NEUTRAL_FIELD])
        pictures = [await file.read() for file in _files(others, "picture", 1)]
        if given:
            neutral = FormData([(NEUTRAL_FIELD, value) for value in given])
            pictures += [await file.read() for file in _files(neutral, NEUTRAL_FIELD, 1)]
    finally:
        await form.close()  # removes what had gone to disk
    for number, data in enumerate(pictures, 1):
        check_signature(data, number)
    return pictures[0], pictures[1] if given else None


async def read_form(request: Request, texts: tuple[str, ...], field: str) -> tuple[dict[str, str], bytes | None]:
    """Return the text fields of a multipart form, and the picture under `field`.

    The picture is None where there is none; each field comes once.

    Raises `RefusedError` for other fields and for what is no picture of an allowed format.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RefusedError(415, "not_multipart", f"expected multipart/form-data with the fields {', '.join(texts)}")
    limits: Limits = request.app.state.admission.limits
    found: dict[str, str] = {}
    picture: bytes | None = None
    with in_time(limits.max_upload_seconds):
        form = await request.form(max_files=2, max_fields=len(texts) + 1, max_part_size=4096)
    try:
        for name, value in form.multi_items():
            if name not in (*texts, field) or isinstance(value, UploadFile) != (name == field):
                known = f"expected the texts {', '.join(texts)} and the file {field!r}"
                raise RefusedError(422, "unexpected_field", f"field {name[:40]!r} is not known here, {known}")
            if name in found or (name == field and picture is not None):
                raise RefusedError(422, "unexpected_field", f"field {name[:40]!r} comes twice")
            if isinstance(value, UploadFile):
                picture = await value.read()
            else:
                found[name] = value
    finally:
        await form.close()  # removes what had gone to disk
    if picture is not None:
        check_signature(picture, 1)
    return found, picture


@contextmanager
def in_time(seconds: float, what: str = "took more than", told: float | None = None) -> Iterator[None]:
    """Raises `RefusedError` where the block takes longer; `told` is what it says."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError as error:
        raise RefusedError(408, "too_slow", f"the upload {what} {seconds if told is None else told:.0f} s") from error


def _files(form: FormData, field: str, most: int) -> list[UploadFile]:
    for name, value in form.multi_items():
        if name != field:
            raise RefusedError(422, "unexpected_field", f"field {name[:40]!r} is not known here, expected {field!r}")
        if not isinstance(value, UploadFile):
            raise RefusedError(422, "not_a_file", f"{field!r} holds text; attach the file itself: addresses are not fetched")
    files = [value for value in form.getlist(field) if isinstance(value, UploadFile)]
    if not files:
        raise RefusedError(422, "missing_video" if field == "video" else "missing_picture", f"no file in the field {field!r}")
    if len(files) > most:
        hint = "; several go to /predict/batch" if field == "picture" and most == 1 else ""
        raise RefusedError(
            422, f"too_many_{field.rstrip('s')}s", f"more than {most} {field.rstrip('s')}(s) in the field {field!r}{hint}"
        )
    return files


def check_signature(data: bytes, number: int) -> None:
    """Check that picture `number` is in an allowed format; raises `RefusedError`."""
    if not data:
        raise RefusedError(422, "empty_picture", f"picture {number} has no bytes")
    for name in ALLOWED_FORMATS:
        if data.startswith(SIGNATURES[name], 4 if name in ("AVIF", "HEIF") else 0) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return
    raise RefusedError(415, "unsupported_picture", f"picture {number} is none of {', '.join(ALLOWED_FORMATS)}")


def _check_container(head: bytes) -> None:
    if not any(head[at : at + len(mark)] == mark for at, mark in CONTAINERS.values()):
        raise RefusedError(415, "not_a_video", f"the body is none of {', '.join(CONTAINERS)}")


def _too_large(megabytes: int) -> RefusedError:
    return RefusedError(413, "upload_too_large", f"the request is larger than {megabytes} MB")
