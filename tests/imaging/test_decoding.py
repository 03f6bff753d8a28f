"""Transparency, deep pixels, cut JPEGs and images that need too much work."""

from __future__ import annotations

import io
import struct
import sys
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import BmpImagePlugin, Image

from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import ALLOWED_FORMATS, decode, decoding, to_gray
from fer_pipeline.inference.detection.haar import HaarDetector

UInt8Array = npt.NDArray[np.uint8]


def saved(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def noise(height: int, width: int) -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_transparent_pixels_show_white(format_: str) -> None:
    rgba = np.dstack([noise(4, 6), np.full((4, 6), 255, np.uint8)])
    rgba[0, :, 3] = 0
    rgba[1, 0] = (100, 0, 200, 51)
    image = decode(saved(Image.fromarray(rgba), format_, **({"lossless": True, "exact": True} if format_ == "WEBP" else {})))
    assert (image[0] == 255).all()
    assert image[1, 0].tolist() == pytest.approx([224, 204, 244], abs=1)
    np.testing.assert_array_equal(image[2:], rgba[2:, :, :3])


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB"])
def test_transparency_of_any_mode_shows_white(mode: str) -> None:
    """As a channel, an entry of the palette, or one value that is transparent."""
    image = Image.new("L", (4, 4), 0)
    image.paste(100, (0, 0, 2, 4))
    if mode == "LA":
        data = saved(Image.merge("LA", [image, image.point(lambda value: 255 if value else 0)]))
    else:
        data = saved(image.convert(mode), transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert (decode(data)[:, :, 1] == [100, 100, 255, 255]).all()


def test_opaque_alpha_changes_no_pixel() -> None:
    rgb = noise(5, 7)
    np.testing.assert_array_equal(decode(saved(Image.fromarray(np.dstack([rgb, np.full((5, 7), 255, np.uint8)])))), rgb)


def test_an_invisible_face_is_blank(drawn_face: UInt8Array) -> None:
    invisible = np.dstack([drawn_face, np.zeros(drawn_face.shape[:2], np.uint8)])
    assert (decode(saved(Image.fromarray(invisible))) == 255).all()


@pytest.mark.parametrize("colour", [0, 255])
def test_a_face_drawn_in_alpha_alone_is_found(colour: int, drawn_face: UInt8Array) -> None:
    """Black pixels show on white; white ones only on black."""
    gray = to_gray(drawn_face)
    alpha = gray if colour else 255 - gray
    image = decode(saved(Image.fromarray(np.dstack([np.full_like(drawn_face, colour), alpha]))))
    np.testing.assert_allclose(image[:, :, 0].astype(int), gray, atol=1)
    assert len(HaarDetector().detect(image)) == 1


@pytest.mark.parametrize(("bits", "told"), [(8, 1), (10, 1), (12, 1), (16, 0)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_ten_and_twelve_bits_in_sixteen_are_stretched(bits: int, told: int, channels: int, drawn_face: UInt8Array) -> None:
    """Gray and colour, with and without alpha; a note says so."""
    values = (drawn_face.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    values[0, :256] = (np.arange(256)[:, np.newaxis] * ((1 << bits) - 1) // 255).astype(np.uint16)
    if channels == 4:
        values = np.dstack([values, np.full(values.shape[:2], 65535, np.uint16)])
    ok, data = cv2.imencode(".png", values[:, :, 0] if channels == 1 else values)
    assert ok
    notes: list[str] = []
    image = decode(bytes(data), on_note=notes.append)
    np.testing.assert_allclose(image[1:].astype(int), drawn_face[1:], atol=1)
    assert len(notes) == told
    assert all(f"lower {bits} bits" in note for note in notes)
    assert len(HaarDetector().detect(image)) == 1


def test_black_pictures_of_16_bits_stay_black() -> None:
    notes: list[str] = []
    for shape in ((4, 4), (4, 4, 3)):
        _, data = cv2.imencode(".png", np.zeros(shape, np.uint16))
        assert decode(bytes(data), on_note=notes.append).max() == 0
    assert notes == []


def test_a_note_without_a_listener_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    decoding._log_once.cache_clear()
    _, data = cv2.imencode(".png", np.full((4, 4), 1000, np.uint16))
    for _ in range(3):
        decode(bytes(data))
    assert [record.message for record in caplog.records if "lower 10 bits" in record.message] == [caplog.messages[0]]


JPEGS = [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30, "restart_marker_blocks": 3}]


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("gray", [False, True])
def test_only_the_end_marker_of_a_jpeg_may_be_missing(options: dict[str, Any], gray: bool) -> None:
    """Without its last two bytes each browser shows it whole; with any data missing it is refused."""
    image = Image.fromarray(cv2.GaussianBlur(noise(61, 77), (0, 0), 2))
    data = saved(image.convert("L") if gray else image, "JPEG", **options)
    np.testing.assert_array_equal(decode(data[:-2]), decode(data))
    for missing in (1, *range(3, len(data) - 20, 1 if len(data) < 700 else 7)):
        with pytest.raises(ImageError, match=r"cannot be decoded|no JPEG"):
            decode(data[:-missing])


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    """A motion photograph has a film there, whose bytes look like any marker."""
    data = saved(Image.fromarray(noise(20, 20)), "JPEG")
    np.testing.assert_array_equal(decode(data + 1000 * b"\xff\xda\x00\x08"), decode(data))


def many_scans(count: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG with its last scan repeated."""
    data = saved(Image.new("L", size, 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + (count - data.count(b"\xff\xda")) * last + data[-2:]


@pytest.mark.attack
def test_a_jpeg_of_thousands_of_scans_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scans are counted before, and nothing of it is opened."""
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("decoding was reached"))
    for data in (many_scans(101), many_scans(20_000), many_scans(20_000)[:-2]):
        with pytest.raises(ImageError, match="more than 100 scans"):
            decode(data)


@pytest.mark.attack
def test_scans_hidden_behind_odd_markers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill bytes, restart markers, reserved markers and comments between the scans hide none."""
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("decoding was reached"))
    for between in (
        b"\xff\xff\xff",
        b"\xff\xd3",
        b"\xff\x02\xff\xff",
        b"\xff\x01",
        b"\xff\xfe\x00\x06\xff\xd9\xff\xd9",
        b"\xff\x00",
    ):
        data = many_scans(150)
        with pytest.raises(ImageError, match="more than 100 scans"):
            decode(data.replace(b"\xff\xda", between + b"\xff\xda"))


@pytest.mark.attack
def test_scans_count_more_in_a_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred passes over a small picture are quick, over a large one they are not."""
    assert decode(many_scans(100)).shape == (64, 64, 3)
    large = many_scans(90, (4000, 3000))
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoding was reached"))
    with pytest.raises(ImageError, match="90 scans of 4000x3000 pixels"):
        decode(large)


def test_a_large_run_length_encoded_bmp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 kB of rows that end after one pixel took 13 s."""

    def bmp(width: int, height: int) -> bytes:
        rows = height * b"\x01\x07\x00\x00" + b"\x00\x01"
        palette = b"".join(bytes([n, n, n, 0]) for n in range(256))
        start = 14 + 40 + len(palette)
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows

    assert decode(bmp(20, 10))[3, :2, 0].tolist() == [7, 0]
    monkeypatch.setattr(BmpImagePlugin.BmpRleDecoder, "decode", lambda *_: pytest.fail("decoding was reached"))
    with pytest.raises(ImageError, match="run-length encoded BMP has 40,000,000 pixels"):
        decode(bmp(10_000, 4_000))


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_only_the_first_frame_of_an_animation_is_decoded(format_: str) -> None:
    first = noise(8, 8)
    others = [Image.fromarray(np.full((8, 8, 3), n, np.uint8)) for n in range(50)]
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = saved(Image.fromarray(first), format_, save_all=True, append_images=others, **options)
    np.testing.assert_array_equal(decode(data), first)
    if format_ == "PNG":
        cut = data[: data.index(b"fdAT") + 8]
        np.testing.assert_array_equal(decode(cut), first)


@pytest.mark.parametrize("format_", ["GIF", "TIFF", "AVIF", "HEIF"])
def test_the_first_of_several_pages_is_read(format_: str) -> None:
    first, second = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    image = decode(saved(first, format_, save_all=True, append_images=[second]))
    assert image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - [255, 0, 0]).max() < 12


@pytest.mark.parametrize("format_", ALLOWED_FORMATS)
def test_each_format_is_bound_before_it_is_decoded(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("RGB", (100, 50)), format_)
    assert decode(data, max_pixels=5000).shape == (50, 100, 3)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoding was reached"))
    with pytest.raises(ImageError, match="100x50 pixels, at most 4,999"):
        decode(data, max_pixels=4999)


@pytest.mark.parametrize("format_", ["GIF", "TIFF", "AVIF", "HEIF"])
def test_a_format_that_is_not_asked_for_is_not_read(format_: str) -> None:
    with pytest.raises(ImageError, match="no JPEG, PNG picture"):
        decode(saved(Image.new("RGB", (20, 20)), format_), ("JPEG", "PNG"))


def test_heic_without_its_package_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # an import of it fails
    with pytest.raises(ImageError, match=r"pillow-heif only: `pip install 'fer-pipeline\[heic\]'`"):
        decode(saved(Image.new("RGB", (20, 20)), "HEIF"))
    assert decode(saved(Image.new("RGB", (20, 20)), "AVIF")).shape == (20, 20, 3)


def test_a_picture_of_floating_point_values_is_refused() -> None:
    with pytest.raises(ImageError, match="floating-point values"):
        decode(saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"))


def test_a_gray_tiff_of_16_bits_is_scaled() -> None:
    image = Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16))
    assert decode(saved(image, "TIFF"))[:, :, 0].tolist() == [[0, 100], [200, 255]]
