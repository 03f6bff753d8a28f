"""The image path: known values, geometry and messages. Stored models and tables depend on them."""

from __future__ import annotations

import io

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_pipeline import imaging
from fer_pipeline.errors import ImageError, ModelError
from fer_pipeline.imaging import ImageSpec

UInt8Array = npt.NDArray[np.uint8]


def ramp(height: int, width: int, right: float = 3.0, down: float = 2.0) -> UInt8Array:
    """A gray value that grows by `right` per column and `down` per row, which interpolation keeps."""
    rows, columns = np.mgrid[:height, :width]
    return np.rint(right * columns + down * rows).astype(np.uint8)


def noise(*shape: int) -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("spec", "fingerprint"),
    [(ImageSpec(), "7f81b568efb2"), (ImageSpec(denoise="median", contrast="clahe", crop_scale=1.2), "a029fcc5350f")],
)
def test_fingerprints_of_stored_models_stay(spec: ImageSpec, fingerprint: str) -> None:
    assert spec.fingerprint == fingerprint


def test_hashes_of_stored_tables_stay() -> None:
    image = ramp(48, 48)
    assert imaging.content_hash(image) == "1618bc55668601569b40004849ec1f1c"
    assert imaging.perceptual_hash(image) == "f" * 16
    assert imaging.perceptual_hash(np.ascontiguousarray(image[:, ::-1])) == "0" * 16
    assert imaging.perceptual_hash(noise(48, 48)) == "2a6a53366aa3549a"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 64}, "has size 64, this code makes 48x48 inputs"),
        ({"denoise": "wavelet"}, "has denoise 'wavelet', expected none, median or nlm"),
        ({"contrast": "gamma"}, "has contrast 'gamma', expected none or clahe"),
        ({"version": 2}, "has version 2, this code knows version 1: upgrade fer-pipeline"),
        ({"colour": "red"}, "{'colour': 'red'} does not fit this code: .*colour"),
    ],
)
def test_specs_of_another_code_say_what_differs(values: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=f"^image spec {message}"):
        ImageSpec.from_dict(values)


def test_as_many_pixels_as_allowed_are_decoded() -> None:
    data = imaging.encode_png(noise(4, 5))
    assert imaging.decode(data, max_pixels=20).shape == (4, 5, 3)
    with pytest.raises(ImageError, match="5x4 pixels, at most 19 are read: scale it down"):
        imaging.decode(data, max_pixels=19)


def test_only_the_given_formats_are_decoded() -> None:
    data = imaging.encode_png(noise(4, 5))
    assert imaging.decode(data, ("PNG",)).shape == (4, 5, 3)
    with pytest.raises(ImageError, match=f"^{len(data)} bytes that are no JPEG, BMP picture"):
        imaging.decode(data, ("JPEG", "BMP"))


def test_gray_of_32_bits_is_scaled_and_kept_in_range() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[-5, 256], [257, 2**20]], np.int32)).save(buffer, "TIFF")
    assert imaging.decode(buffer.getvalue(), ("TIFF",)).tolist() == [[[0] * 3, [0] * 3], [[1] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [((4,), r"\(4,\)"), ((4, 4, 2), r"\(4, 4, 2\)"), ((1, 4, 4, 3), r"\(1, 4, 4, 3\)"), ((2, 2, 1, 1), r"\(2, 2, 1, 1\)")],
)
def test_shapes_that_are_no_picture_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ImageError, match=rf"shape {message}, expected \(H, W\), \(H, W, 1\) or \(H, W, 3\)"):
        imaging.to_gray(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("shape", "shrunk"), [((10, 4), (5, 2)), ((4, 10), (2, 5)), ((99, 1), (5, 1)), ((5, 5), (5, 5))])
def test_shrinking_keeps_the_proportions(shape: tuple[int, int], shrunk: tuple[int, int]) -> None:
    assert imaging.shrink(np.zeros(shape, np.uint8), 5).shape == shrunk


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((0.4, 0.6, 3.4, 3.6), slice(1, 4), slice(0, 3)),  # edges are rounded
        ((0, 0, 6, 5), slice(0, 5), slice(0, 6)),
        ((5, 4, 6, 5), slice(4, 5), slice(5, 6)),  # one pixel
    ],
)
def test_crops_hold_the_rounded_box(box: tuple[float, float, float, float], rows: slice, columns: slice) -> None:
    image = noise(5, 6)
    np.testing.assert_array_equal(imaging.crop(image, box), image[rows, columns])


@pytest.mark.parametrize(
    "box", [(-3, 1, 4, 3), (2, -4, 5, 2), (3, 2, 9, 4), (1, 3, 4, 11), (-1, -2, 7, 8), (5, 4, 7, 7), (-2, -2, 1, 1)]
)
def test_crops_beyond_each_side_repeat_its_edge(box: tuple[int, int, int, int]) -> None:
    image = noise(5, 6)
    x1, y1, x2, y2 = box
    around = np.pad(image, 12, mode="edge")
    np.testing.assert_array_equal(imaging.crop(image, box), around[y1 + 12 : y2 + 12, x1 + 12 : x2 + 12])


@pytest.mark.parametrize("box", [(6, 0, 8, 2), (0, 5, 2, 8), (-2, 0, 0, 2), (0, -2, 2, 0), (2, 2, 2, 4), (2, 4, 4, 4)])
def test_boxes_that_only_touch_the_picture_are_named(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ImageError, match=r"^box \(.*\) does not meet the picture of 6x5 pixels"):
        imaging.crop(noise(5, 6), box)


@pytest.mark.parametrize(("box", "width", "height"), [((10, 20, 30, 32), 20, 12), ((14, 8, 25, 33), 11, 25)])
def test_turned_crops_turn_about_the_middle_of_the_box(box: tuple[int, int, int, int], width: int, height: int) -> None:
    """Of a ramp each pixel's value is known: the middle keeps its place, and the axes turn."""
    image = ramp(60, 60, 2.0, 1.0)
    for degrees in (0.0, 30.0, -45.0):
        found = imaging.crop_rotated(image, box, degrees).astype(float)
        assert found.shape == (height, width)
        rows, columns = np.mgrid[:height, :width]
        right, down = columns - (width - 1) / 2, rows - (height - 1) / 2
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        # OpenCV turns about whole pixels: the middle of a box of odd sides may lie half a pixel beside.
        x = round((box[0] + box[2]) / 2) - 0.5 + cos * right - sin * down
        y = round((box[1] + box[3]) / 2) - 0.5 + sin * right + cos * down
        np.testing.assert_allclose(found, 2 * x + y, atol=1.2)


def test_a_turned_crop_has_at_least_one_pixel() -> None:
    assert imaging.crop_rotated(noise(5, 6), (2, 2, 2.2, 2.3), 10).shape == (1, 1)


@pytest.mark.parametrize("quarters", [1, 2, 3, 5, -1])
def test_turning_goes_against_the_clock(quarters: int) -> None:
    image = noise(4, 6)
    np.testing.assert_array_equal(imaging.rotate90(image, quarters), np.rot90(image, quarters))
    assert imaging.rotate90(image, quarters).flags.c_contiguous
    assert imaging.rotate90(image, 4) is image


@pytest.mark.parametrize(("shape", "average"), [((96, 96), True), ((49, 96), True), ((48, 96), False), ((24, 200), False)])
def test_only_faces_larger_both_ways_are_averaged(shape: tuple[int, int], average: bool) -> None:
    """Along a side of at most 48 pixels averaging would only repeat pixels."""
    image = noise(*shape)
    how = cv2.INTER_AREA if average else cv2.INTER_LINEAR
    np.testing.assert_array_equal(imaging.resize_face(image), cv2.resize(image, (48, 48), interpolation=how))


def test_faces_of_wrong_shape_are_named() -> None:
    with pytest.raises(ImageError, match=r"shape \(4, 4, 1\), expected a non-empty \(H, W\)"):
        imaging.resize_face(np.zeros((4, 4, 1), np.uint8))


def test_denoising_comes_before_contrast() -> None:
    gray = noise(48, 48)
    both = imaging.enhance(gray, ImageSpec(denoise="median", contrast="clahe"))
    median = imaging.enhance(gray, ImageSpec(denoise="median"))
    np.testing.assert_array_equal(both, imaging.enhance(median, ImageSpec(contrast="clahe")))
    assert imaging.enhance(gray, ImageSpec()) is gray


@pytest.mark.parametrize(
    ("spec", "known"),
    [
        (ImageSpec(denoise="median"), "8f58d975090105532ec5870ff10c7909"),
        (ImageSpec(denoise="nlm"), "1145f74dc63a60ea0d7460df98e9b017"),
        (ImageSpec(contrast="clahe"), "b5e451f600bc055fca1917c7a3923f0d"),
    ],
)
def test_settings_of_enhancement_stay(spec: ImageSpec, known: str) -> None:
    """Models are trained on their results: another strength or window is another image spec."""
    soft = (128 + np.random.default_rng(0).normal(0, 12, (48, 48)) + ramp(48, 48, 1, 0)).clip(0, 255).astype(np.uint8)
    assert imaging.content_hash(imaging.enhance(soft, spec)) == known


@pytest.mark.parametrize("degrees", [0.0, 20.0, 90.0, 180.0])
def test_varied_pictures_turn_about_their_middle(degrees: float) -> None:
    """Of a ramp each pixel's value is known; the middle of 20 x 31 pixels is no whole pixel."""
    image = ramp(20, 31)
    found = imaging.augment(image, mirror=False, degrees=degrees, shift_xy=(0.0, 0.0), gain=1.0).astype(float)
    rows, columns = np.mgrid[:20, :31]
    right, down = columns - 15.0, rows - 9.5
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    x, y = 15 + cos * right - sin * down, 9.5 + sin * right + cos * down
    inside = (x >= 0) & (x <= 30) & (y >= 0) & (y <= 19)
    np.testing.assert_allclose(found[inside], (3 * x + 2 * y)[inside], atol=1.2)


def test_varied_pictures_are_rounded_and_kept_in_range() -> None:
    image = np.array([[0, 1, 3, 200]], np.uint8).repeat(3, axis=0)
    found = imaging.augment(image, mirror=False, degrees=0, shift_xy=(0, 0), gain=1.3)
    assert found[1].tolist() == [0, 1, 4, 255]
    shifted = imaging.augment(image, mirror=False, degrees=0, shift_xy=(1, 0), gain=1.0)
    assert shifted[1].tolist() == [0, 0, 1, 3]
    down = imaging.augment(np.array([[1], [2], [3]], np.uint8), mirror=False, degrees=0, shift_xy=(0, 1), gain=1.0)
    assert down[:, 0].tolist() == [1, 1, 2]


def test_a_picture_that_opencv_cannot_write_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imaging.cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(ImageError, match=r"picture of shape \(4, 5\) could not be written as PNG"):
        imaging.encode_png(noise(4, 5))
