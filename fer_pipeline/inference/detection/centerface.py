"""Detect faces and five landmarks with CenterFace, the default detector.

CenterFace (Xu et al. 2019, arXiv 1911.03599) lies in the folder `vendor`, with licence and origin; `tools.vendor_centerface`
renews it. It was trained on WIDER FACE.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array, shrink, to_rgb
from fer_pipeline.inference.detection.faces import Box, FaceBox, iou, largest_first, scale_box
from fer_pipeline.model_info import file_sha256

VENDORED = Path(__file__).with_name("vendor")
"""Folder of the network, its licence and its origin."""

NETWORK = "centerface.onnx"
MANIFEST = "vendor.json"
INPUT = "input.1"
"""Input: RGB float32 (n, 3, height, width) in 0..255, sides multiples of 32."""

OUTPUTS = ("537", "538", "539", "540")
"""Score (n, 1), log height and width (n, 2), y and x offset (n, 2), landmarks (n, 10).

Each for cells of 4x4 pixels; landmarks are (y, x) in units of the box.
"""

CENTERFACE_SIDE = 480
"""Longer side, in pixels, of the copy that is searched by default."""

CENTERFACE_MIN_SCORE = 0.35
"""Minimum score of a face."""

CENTERFACE_FRAMING = (0.788, 0.51, 0.51)
"""Width of CenterFace's box and its centre from left and top in the FER-2013 framing of the same face.

In units of the framing's side; medians of 1,368 faces found in 1,500 PublicTest images. A crop of this size is also the one
that `fast` reads best, of .92 to 1.24 times it: 68.4 % of these faces and 49.5 % of 588 press photographs.
"""

MAX_OVERLAP = 0.3
"""Intersection over union above which two boxes are one face."""

_CELL = 4
_MULTIPLE = 32

Found = tuple[Box, float, tuple[tuple[float, float], ...]]
"""Box, score and landmarks of a face."""


class CenterFaceDetector:
    """Faces with landmarks by CenterFace, with the network's scores."""

    name = "centerface"

    def __init__(
        self, min_score: float = CENTERFACE_MIN_SCORE, longest_side: int = CENTERFACE_SIDE, folder: Path = VENDORED
    ) -> None:
        """Load the network; it runs on one thread per call.

        Raises `ModelError` where its file is missing or damaged.
        """
        self._session = _session(folder)
        self._min_score = min_score
        self._longest_side = longest_side

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        """Detect the faces of an RGB (H, W, 3) or gray (H, W) image, largest first."""
        small = shrink(image, self._longest_side)
        scale = image.shape[1] / small.shape[1]
        outputs = self._session.run(OUTPUTS, {INPUT: _network_input(small)})
        faces = []
        for box, score, landmarks in best_boxes(decode_boxes(outputs, self._min_score)):
            scaled = scale_box(box, scale)
            faces.append(FaceBox(scaled, _framing(scaled), score, tuple((x * scale, y * scale) for x, y in landmarks)))
        return largest_first(faces)


def decode_boxes(outputs: list[npt.NDArray[np.float32]], min_score: float) -> list[Found]:
    """Read the faces of one image from the network's outputs, best first.

    In pixels of its input; several boxes may show one face.
    """
    scores, sizes, offsets, landmarks = (output[0].astype(np.float64) for output in outputs)
    rows, columns = np.nonzero(scores[0] >= min_score)
    order = np.argsort(-scores[0, rows, columns], kind="stable")
    found = []
    for row, column in zip(rows[order], columns[order], strict=True):
        height, width = np.exp(sizes[:, row, column]) * _CELL
        left = (column + offsets[1, row, column] + 0.5) * _CELL - width / 2
        top = (row + offsets[0, row, column] + 0.5) * _CELL - height / 2
        marks = landmarks[:, row, column].reshape(5, 2)
        points = tuple((float(left + x * width), float(top + y * height)) for y, x in marks)
        box = (float(left), float(top), float(left + width), float(top + height))
        found.append((box, float(scores[0, row, column]), points))
    return found


def best_boxes(found: list[Found]) -> list[Found]:
    """Keep the best of the boxes that overlap by more than `MAX_OVERLAP`."""
    kept: list[Found] = []
    for face in found:
        if all(iou(face[0], other[0]) <= MAX_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _session(folder: Path) -> Any:
    file = folder / NETWORK
    try:
        expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"][NETWORK]["sha256"]
        found = file_sha256(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}, the face detector, cannot be read ({error}): install the package again") from error
    if found != expected:
        raise ModelError(f"{file} has SHA-256 {found}, {MANIFEST} says {expected}: it was changed or damaged, install again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # else memory is planned, and kept, for every size of a picture
    options.log_severity_level = 3
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _network_input(image: UInt8Array) -> npt.NDArray[np.float32]:
    rgb = to_rgb(image)
    height, width = rgb.shape[:2]
    values = np.zeros((1, 3, _up(height), _up(width)), np.float32)  # padded with black, not stretched
    values[0, :, :height, :width] = rgb.transpose(2, 0, 1)
    return values


def _up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE


def _framing(box: Box) -> Box:
    width, x, y = CENTERFACE_FRAMING
    side = (box[2] - box[0]) / width
    left, top = (box[0] + box[2]) / 2 - x * side, (box[1] + box[3]) / 2 - y * side
    return (left, top, left + side, top + side)
