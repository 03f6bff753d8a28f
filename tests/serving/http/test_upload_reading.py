"""Reading of uploads without a server: deadlines, fields and signatures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from fer_pipeline.serving.http import uploads
from fer_pipeline.serving.http.uploads import RefusedError, in_time, read_form, read_pictures, read_video
from fer_pipeline.serving.settings import Limits
from tests.serving.receiving import receive_of, refusal, scope_of

PNG, JPEG, BMP, WEBP = b"\x89PNG\r\n\x1a\n....", b"\xff\xd8\xff.", b"BM..", b"RIFF....WEBP."
MP4, WEBM, AVI = b"....ftypisom....", b"\x1aE\xdf\xa3............", b"RIFF....AVI LIST"
Parts = list[tuple[str, str | None, bytes]]


def form_of(parts: Parts) -> bytes:
    """The body of a form with the boundary x; a part without a file name is a text."""
    body = b""
    for name, file, data in parts:
        file_name = "" if file is None else f'; filename="{file}"'
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'.encode() + data + b"\r\n"
    return body + b"--x--\r\n"


def request_of(body: bytes, limits: Limits | None = None, kind: str = "multipart/form-data; boundary=x") -> Request:
    return Request(scope_of(limits or Limits(), content_type=kind), receive_of(body))


def pictures(parts: Parts, most: int = 2) -> Callable[[], Awaitable[list[bytes]]]:
    return lambda: read_pictures(request_of(form_of(parts)), "picture", most)


def video(target: Path, *chunks: bytes, seconds: int = 60, pause: float = 0.0, kind: str = "") -> Callable[[], Awaitable[None]]:
    scope = scope_of(Limits(max_upload_seconds=seconds), "/video", content_type=kind)
    return lambda: read_video(Request(scope, receive_of(*chunks, pause=pause)), target / "video")


@pytest.mark.parametrize("data", [MP4, WEBM, AVI])
@pytest.mark.parametrize("cut", [0, 1, 11, 12])
def test_videos_are_written_as_they_come(data: bytes, cut: int, tmp_path: Path) -> None:
    """The first bytes may come in any pieces."""
    anyio.run(video(tmp_path, data[:cut], data[cut:], b"more"))
    assert (tmp_path / "video").read_bytes() == data + b"more"


@pytest.mark.parametrize(
    ("chunks", "status", "code", "words"),
    [
        ((b"",), 422, "empty_video", "the body has no bytes"),
        ((b"x" * 20,), 415, "not_a_video", "the body is none of MP4 or MOV, WebM or MKV, AVI"),
        ((b"ftypisom....",), 415, "not_a_video", "the body is none of"),
        ((b"....ft", b"yXisom"), 415, "not_a_video", "the body is none of"),
        ((b"short",), 415, "not_a_video", "the body is none of"),
    ],
)
def test_bodies_that_are_no_video_say_why(chunks: tuple[bytes, ...], status: int, code: str, words: str, tmp_path: Path) -> None:
    found = refusal(video(tmp_path, *chunks))
    assert found[:2] == (status, code)
    assert found[2].startswith(words)


def test_a_video_may_come_in_a_form(tmp_path: Path) -> None:
    def sent(*parts: tuple[str, str | None, bytes]) -> Callable[[], Awaitable[None]]:
        return lambda: read_video(request_of(form_of(list(parts))), tmp_path / "video")

    anyio.run(sent(("video", "a.mp4", MP4 + bytes(3_000_000))))
    assert (tmp_path / "video").read_bytes() == MP4 + bytes(3_000_000)
    assert refusal(sent())[:2] == (422, "missing_video")
    assert refusal(sent(("file", "a.mp4", MP4)))[:2] == (422, "unexpected_field")
    assert refusal(sent(("video", "a.mp4", MP4), ("video", "b.mp4", MP4)))[:2] == (422, "too_many_videos")
    assert refusal(sent(("video", "a.mp4", b"x" * 20)))[:2] == (415, "not_a_video")


def test_a_full_disk_asks_to_come_back_in_five_minutes() -> None:
    async def read() -> None:
        await read_video(Request(scope_of(Limits(), "/video"), receive_of(MP4 + bytes(10**6))), Path("/dev/full"))

    with pytest.raises(RefusedError, match="no room for the video; try again later") as caught:
        anyio.run(read)
    assert (caught.value.status, caught.value.code, caught.value.retry_seconds) == (429, "disk_full", 300)


def test_too_slow_a_block_says_how_long_it_may_take() -> None:
    async def slow() -> None:
        with in_time(0.05):
            await anyio.sleep(1)

    assert refusal(slow) == (408, "too_slow", "the upload took more than 0 s")


@pytest.mark.parametrize("reader", [lambda r: read_pictures(r, "picture", 1), lambda r: read_form(r, ("a",), "picture")])
def test_a_slow_form_is_refused(reader: Callable[[Request], Awaitable[Any]]) -> None:
    scope = scope_of(Limits(max_upload_seconds=1), content_type="multipart/form-data; boundary=x")
    found = refusal(lambda: reader(Request(scope, receive_of(b"--x", pause=1.5))))
    assert found == (408, "too_slow", "the upload took more than 1 s")


def test_pictures_come_in_their_order() -> None:
    parts: Parts = [("picture", "a", data) for data in (PNG, JPEG, BMP, WEBP)]
    assert anyio.run(pictures(parts, 4)) == [PNG, JPEG, BMP, WEBP]


@pytest.mark.parametrize(
    ("parts", "most", "status", "code", "words"),
    [
        ([], 2, 422, "missing_picture", "no file in the field 'picture'"),
        (
            [("other" * 20, "a", PNG)],
            2,
            422,
            "unexpected_field",
            f"field {('other' * 8)!r} is not known here, expected 'picture'",
        ),
        ([("picture", None, PNG[:1])], 2, 422, "not_a_file", "'picture' holds text; attach the file itself"),
        ([("picture", "a", PNG)] * 3, 2, 422, "too_many_pictures", "more than 2 picture(s) in the field 'picture'"),
        ([("picture", "a", b"")], 2, 422, "empty_picture", "picture 1 has no bytes"),
        (
            [("picture", "a", PNG), ("picture", "a", b"<svg>")],
            2,
            415,
            "unsupported_picture",
            "picture 2 is none of JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF, HEIF",
        ),
        ([("picture", "a", b"RIFF....WAVE")], 2, 415, "unsupported_picture", "picture 1 is none of"),
        ([("picture", "a", b".\xff\xd8\xff")], 2, 415, "unsupported_picture", "picture 1 is none of"),
    ],
)
def test_what_is_no_picture_says_which_and_why(parts: Parts, most: int, status: int, code: str, words: str) -> None:
    found = refusal(pictures(parts, most))
    assert found[:2] == (status, code)
    assert found[2].encode("ascii", "replace").decode().startswith(words)


def test_one_picture_too_many_names_the_batch() -> None:
    hint = "more than 1 picture(s) in the field 'picture'; several go to /predict/batch"
    assert refusal(pictures([("picture", "a", PNG)] * 2, 1))[2] == hint
    assert refusal(pictures([("picture", "a", PNG)] * 3, 2))[2] == "more than 2 picture(s) in the field 'picture'"


def form(parts: Parts) -> Callable[[], Awaitable[tuple[dict[str, str], bytes | None]]]:
    return lambda: read_form(request_of(form_of(parts)), ("model", "label"), "picture")


def test_a_form_has_texts_and_at_most_one_picture() -> None:
    texts: Parts = [("model", None, b"fer"), ("label", None, b"happy")]
    assert anyio.run(form(texts)) == ({"model": "fer", "label": "happy"}, None)
    assert anyio.run(form([("picture", "a", PNG), *texts])) == ({"model": "fer", "label": "happy"}, PNG)
    assert anyio.run(form([])) == ({}, None)


@pytest.mark.parametrize(
    ("parts", "code", "words"),
    [
        (
            [("mood", None, b"x")],
            "unexpected_field",
            "field 'mood' is not known here, expected the texts model, label and the file 'picture'",
        ),
        ([("picture", None, b"x")], "unexpected_field", "field 'picture' is not known here"),
        ([("model", "a", b"x")], "unexpected_field", "field 'model' is not known here"),
        ([("model", None, b"x")] * 2, "unexpected_field", "field 'model' comes twice"),
        ([("picture", "a", PNG)] * 2, "unexpected_field", "field 'picture' comes twice"),
        ([("picture", "a", b"")], "empty_picture", "picture 1 has no bytes"),
    ],
)
def test_forms_with_other_fields_say_which(parts: Parts, code: str, words: str) -> None:
    found = refusal(form(parts))
    assert found[:2] == (422, code)
    assert found[2].startswith(words)


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/mixed; boundary=x"])
def test_other_bodies_than_forms_are_refused(kind: str) -> None:
    words = "expected multipart/form-data with"
    found = refusal(lambda: read_pictures(request_of(b"", kind=kind), "picture", 2))
    assert found == (415, "not_multipart", f"{words} the picture in the field 'picture'")
    one = refusal(lambda: read_pictures(request_of(b"", kind=kind), "picture", 1))
    assert one == (*found[:2], f"{found[2]}, or the picture itself as application/octet-stream, image/")
    found = refusal(lambda: read_form(request_of(b"", kind=kind), ("a", "b"), "picture"))
    assert found == (415, "not_multipart", f"{words} the fields a, b")
    body = form_of([("picture", "a", PNG)])
    assert anyio.run(lambda: read_pictures(request_of(body, kind="Multipart/Form-Data; boundary=x"), "picture", 1)) == [PNG]


def test_what_is_no_video_is_refused_after_12_bytes(tmp_path: Path) -> None:
    scope, asked = scope_of(Limits(), "/video"), []

    async def receive() -> Message:
        asked.append(1)
        return {"type": "http.request", "body": b"x" * 12, "more_body": True}

    assert refusal(lambda: read_video(Request(scope, receive), tmp_path / "video"))[1] == "not_a_video"
    assert len(asked) == 1


def test_a_whole_video_may_take_ten_times_a_pause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allowed: list[float] = []
    monkeypatch.setattr(uploads, "in_time", lambda seconds, *what: (allowed.append(seconds), in_time(seconds, *what))[1])
    anyio.run(video(tmp_path, MP4, seconds=7))
    assert allowed == [70]


def test_a_request_without_a_kind_of_content_is_no_form() -> None:
    for read in (lambda r: read_pictures(r, "picture", 1), lambda r: read_form(r, ("a",), "picture")):
        assert refusal(lambda read=read: read(Request(scope_of(Limits()), receive_of(b""))))[1] == "not_multipart"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (pictures([("a", None, b""), ("b", None, b"")]), "Too many fields"),
        (pictures([("picture", "a", PNG)] * 4), "Too many files"),
        (form([("model", None, b"")] * 4), "Too many fields"),
        (form([("picture", "a", PNG)] * 3), "Too many files"),
        (form([("model", None, bytes(4097))]), "exceeded maximum size"),
    ],
)
def test_forms_of_many_parts_are_not_read_to_the_end(call: Callable[[], Awaitable[Any]], words: str) -> None:
    with pytest.raises(HTTPException, match=words):
        anyio.run(call)


def test_a_text_may_have_4096_bytes() -> None:
    assert len(anyio.run(form([("model", None, b"m" * 4096)]))[0]["model"]) == 4096
