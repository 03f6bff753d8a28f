from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from fer_pipeline import imaging
from fer_pipeline.errors import ImageError, ModelError
from fer_pipeline.imaging import ImageSpec

UInt8Array = npt.NDArray[np.uint8]


def picture_of(height: int, width: int, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: UInt8Array, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format_, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


@pytest.mark.parametrize(
    ("format_", "options"),
    [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)
def test_lossless_formats_decode_to_the_very_pixels(format_: str, options: dict[str, Any]) -> None:
    image = picture_of(5, 7)
    np.testing.assert_array_equal(imaging.decode(encoded(image, format_, **options)), image)


def test_a_jpeg_decodes_to_about_the_same_pixels() -> None:
    image = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(imaging.decode(encoded(image, "JPEG", quality=95)).astype(int) - image).max() <= 4


@pytest.mark.parametrize(
    ("orientation", "corner"),  # where the bright top left corner of the stored picture must appear: (row, column)
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_exif_orientation_turns_the_picture_upright(orientation: int, corner: tuple[int, int]) -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 0] = 255
    decoded = imaging.decode(encoded(image, "PNG", exif=exif(orientation)))
    assert decoded.shape == ((4, 6, 3) if orientation < 5 else (6, 4, 3))
    assert decoded[corner].tolist() == [255, 255, 255]
    assert decoded.astype(int).sum() == 3 * 255


def test_an_unknown_exif_orientation_changes_nothing() -> None:
    """An orientation that exif does not know leaves the image as it is."""
    image = picture_of(4, 6)
    np.testing.assert_array_equal(imaging.decode(encoded(image, "PNG", exif=exif(77))), image)


def test_gray_of_16_bits_is_scaled_and_not_clipped() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)).save(buffer, "PNG")
    assert imaging.decode(buffer.getvalue())[:, :, 0].tolist() == [[0, 100], [200, 255]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_each_colour_mode_becomes_three_channels(mode: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture_of(5, 7)).convert(mode).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    decoded = imaging.decode(buffer.getvalue())
    assert decoded.shape == (5, 7, 3)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JPEG, PNG, WEBP, BMP"),
        (b"hello", "no JPEG, PNG, WEBP, BMP"),
        (b"<svg>" + bytes(100), "no JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF, HEIF picture"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded|no JPEG"),
        (encoded(picture_of(40, 40), "PNG")[:-40], "cannot be decoded"),
        (encoded(picture_of(40, 40), "JPEG")[:300], "cannot be decoded|no JPEG"),
    ],
)
def test_bytes_that_are_no_whole_picture_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        imaging.decode(data)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (10_000, 5_001, "10000x5001 pixels, at most 50,000,000"),
        (12_000, 10_000, "12000x10000 pixels, at most 50,000,000"),
        (30_000, 30_000, "too many pixels, at most 50,000,000"),
    ],
)
def test_too_many_pixels_are_refused_before_decoding(width: int, height: int, words: str) -> None:
    """A image of too many pixels is refused before it is decoded."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match=words):
        imaging.decode(bomb)


@given(
    seed=st.sampled_from(imaging.ALLOWED_FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12),
    kept=st.integers(0, 5000),
)
def test_damaged_files_decode_or_raise_an_image_error(seed: str, changes: list[tuple[int, int]], kept: int) -> None:
    """Damaged files decode or raise an image error and nothing else."""
    options = {} if seed in ("BMP", "GIF") else {"exif": exif(6)}
    data = bytearray(encoded(picture_of(12, 9), seed, **options))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        decoded = imaging.decode(bytes(data[:kept]))
    except ImageError:
        return
    assert decoded.dtype == np.uint8
    assert decoded.shape[2:] == (3,)


def test_gray_follows_the_weights_of_bt_601() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 10, 10]]], np.uint8)
    assert imaging.to_gray(colours).tolist() == [[76, 150, 29, 10]]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1)])
def test_gray_of_gray_is_the_same(shape: tuple[int, ...]) -> None:
    image = np.arange(16, dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(imaging.to_gray(image), image.reshape(4, 4))


@pytest.mark.parametrize(
    ("image", "reason"), [(np.zeros((4, 4)), "dtype float64"), (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)")]
)
def test_what_is_no_picture_has_no_gray(image: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        imaging.to_gray(image)


def test_bgr_swaps_red_and_blue_and_repeats_gray() -> None:
    assert imaging.to_bgr(np.array([[[1, 2, 3]]], np.uint8)).tolist() == [[[3, 2, 1]]]
    assert imaging.to_bgr(np.array([[7]], np.uint8)).tolist() == [[[7, 7, 7]]]


def test_shrink_averages_to_the_longer_side_and_never_grows() -> None:
    image = np.zeros((4, 8), np.uint8)
    image[:, ::2] = 100
    assert imaging.shrink(image, 4).tolist() == [[50] * 4] * 2
    assert imaging.shrink(image, 8) is image
    assert imaging.shrink(np.zeros((5000, 1, 3), np.uint8), 640).shape == (640, 1, 3)


def test_a_crop_inside_the_picture_is_cut_out() -> None:
    image = np.arange(36, dtype=np.uint8).reshape(6, 6)
    np.testing.assert_array_equal(imaging.crop(image, (1, 2, 4, 5)), image[2:5, 1:4])


def test_a_crop_beyond_the_edge_repeats_the_edge() -> None:
    image = np.array([[1, 2], [3, 4]], np.uint8)
    assert imaging.crop(image, (-1, -1, 2, 3)).tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4], [3, 3, 4]]


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 9, 12, 12), (-5, -5, 0, 0), (3, 3, 1, 1)])
def test_a_box_that_misses_the_picture_is_an_error(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ImageError, match="does not meet the picture"):
        imaging.crop(np.zeros((8, 8), np.uint8), box)


@pytest.mark.parametrize("quarters", range(4))
def test_a_turned_box_holds_the_same_pixels(quarters: int) -> None:
    image = picture_of(6, 9)
    x1, y1, x2, y2 = (round(value) for value in imaging.rotate_box90((2, 1, 5, 3), image, quarters))
    found = imaging.rotate90(image, quarters)[y1:y2, x1:x2]
    np.testing.assert_array_equal(found, np.rot90(image[1:3, 2:5], quarters))


def test_turning_by_nothing_is_no_copy() -> None:
    image = picture_of(4, 5)
    assert imaging.rotate90(image, 0) is image


def test_a_crop_turned_by_nothing_is_the_plain_crop() -> None:
    image = picture_of(40, 50)
    np.testing.assert_array_equal(imaging.crop_rotated(image, (10, 10, 30, 30), 0.0), imaging.crop(image, (10, 10, 30, 30)))
    np.testing.assert_array_equal(imaging.crop_rotated(image, (-5, 10, 15, 30), 0.0), imaging.crop(image, (-5, 10, 15, 30)))


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (-90, 3)])
def test_a_crop_turned_by_a_quarter_is_the_turned_crop(degrees: float, quarters: int) -> None:
    image = picture_of(40, 50)
    turned = imaging.crop_rotated(image, (10, 10, 30, 30), degrees)
    np.testing.assert_allclose(turned.astype(int), np.rot90(image[10:30, 10:30], quarters).astype(int), atol=1)


def test_a_tilted_line_becomes_level() -> None:
    image = np.zeros((100, 100), np.uint8)
    for x in range(100):
        image[min(99, round(50 + (x - 50) * np.tan(np.deg2rad(20)))) :, x] = 255  # falls to the right by 20 degrees
    level = imaging.crop_rotated(image, (30, 30, 70, 70), 20.0)
    assert level[:17].max() < 20
    assert level[23:].min() > 235


def test_a_48x48_gray_picture_is_its_own_model_input() -> None:
    image = picture_of(48, 48)[:, :, 0]
    np.testing.assert_array_equal(imaging.to_model_input(image, ImageSpec())[:, :, 0], image)


@pytest.mark.parametrize("shape", [(10, 10), (48, 50), (300, 200, 3), (7, 90, 1)])
def test_any_face_becomes_a_model_input(shape: tuple[int, ...]) -> None:
    face = np.full(shape, 77, np.uint8)
    made = imaging.to_model_input(face, ImageSpec())
    assert (made.shape, made.dtype) == ((48, 48, 1), np.uint8)
    assert (made == 77).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_an_empty_face_is_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="non-empty"):
        imaging.resize_face(np.zeros(shape, np.uint8))


def test_median_denoising_removes_a_lone_bright_pixel() -> None:
    gray = np.zeros((48, 48), np.uint8)
    gray[20, 20] = 255
    assert imaging.enhance(gray, ImageSpec(denoise="median")).max() == 0


def test_nlm_denoising_lowers_the_noise() -> None:
    noisy = (128 + np.random.default_rng(0).normal(0, 4, (48, 48))).astype(np.uint8)
    assert imaging.enhance(noisy, ImageSpec(denoise="nlm")).std() < 0.7 * noisy.std()


def test_clahe_widens_the_contrast() -> None:
    gray = np.tile(np.linspace(100, 120, 48).astype(np.uint8), (48, 1))
    assert imaging.enhance(gray, ImageSpec(contrast="clahe")).std() > 1.5 * gray.std()


def test_the_fingerprint_follows_the_values_of_the_spec() -> None:
    assert ImageSpec().fingerprint == ImageSpec.from_dict({"size": 48, "crop_scale": 1.0}).fingerprint
    assert ImageSpec(detector="haar").fingerprint != ImageSpec().fingerprint
    assert ImageSpec(detector="haar").table_values() == ImageSpec().table_values()
    assert ImageSpec().fingerprint != ImageSpec(denoise="median").fingerprint


@pytest.mark.parametrize(
    "values", [{"size": 64}, {"denoise": "wavelet"}, {"contrast": "gamma"}, {"version": 2}, {"colour": "red"}]
)
def test_a_spec_of_another_code_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        ImageSpec.from_dict(values)


def test_only_equal_pixels_have_equal_content_hashes() -> None:
    """Equal pixels have equal content hashes and others do not."""
    image = picture_of(48, 48)[:, :, 0]
    changed = image.copy()
    changed[0, 0] ^= 1
    assert imaging.content_hash(image) == imaging.content_hash(np.asfortranarray(image))
    assert imaging.content_hash(image) != imaging.content_hash(changed)
    assert len(imaging.content_hash(image)) == 32


def test_content_hashes_tell_shapes_apart() -> None:
    assert imaging.content_hash(np.zeros((2, 8), np.uint8)) != imaging.content_hash(np.zeros((4, 4), np.uint8))


def test_the_perceptual_hash_ignores_light_but_not_mirroring(drawn_face: UInt8Array) -> None:
    """The perceptual hash survives more light and tells mirror images apart."""
    gray = imaging.to_gray(drawn_face)
    assert imaging.perceptual_hash(gray) == imaging.perceptual_hash(gray + 20)
    assert imaging.perceptual_hash(gray) != imaging.perceptual_hash(np.ascontiguousarray(gray[:, ::-1]))


@pytest.mark.parametrize("image", [picture_of(5, 7), picture_of(5, 7)[:, :, 0]])
def test_a_png_holds_the_very_pixels(image: UInt8Array) -> None:
    decoded = np.asarray(Image.open(io.BytesIO(imaging.encode_png(image))))
    np.testing.assert_array_equal(decoded, image)
