"""Convert images: bytes -> RGB (H, W, 3) -> gray -> model input (48, 48, 1).

Training, evaluation and serving use these functions; no other module resizes an image or converts its colours. Arrays are RGB
inside the library; BGR exists only where OpenCV reads or writes.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np

from fer_pipeline.errors import ImageError, ModelError
from fer_pipeline.imaging.decoding import (
    ALLOWED_FORMATS as ALLOWED_FORMATS,
    HEIF_BRANDS as HEIF_BRANDS,
    IMAGE_SUFFIXES as IMAGE_SUFFIXES,
    MAX_PIXELS as MAX_PIXELS,
    UInt8Array as UInt8Array,
    decode as decode,
    from_pil as from_pil,
)

FACE_SIZE = 48
"""Side of a model input in pixels."""

DetectorName = Literal["centerface", "yunet", "haar"]
"""A face detector; `inference.detection` has them."""

DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)
DEFAULT_DETECTOR: DetectorName = "centerface"


@dataclass(frozen=True)
class ImageSpec:
    """Parameters of the conversion of a face to a model input.

    Stored with each model; loading a model checks its `fingerprint`. `denoise` and `contrast` are applied at 48x48, in this
    order. `crop_scale` is the side of the square crop around a detected face, in units of the FER-2013 framing (1.0 is the
    framing of the training images). `detector` is the face detector of a model's bundle.
    """

    size: int = FACE_SIZE
    denoise: Literal["none", "median", "nlm"] = "none"
    contrast: Literal["none", "clahe"] = "none"
    crop_scale: float = 1.0
    version: int = 1
    detector: DetectorName = DEFAULT_DETECTOR

    def __post_init__(self) -> None:
        if self.size != FACE_SIZE:
            raise ModelError(f"image spec has size {self.size}, this code makes {FACE_SIZE}x{FACE_SIZE} inputs")
        if self.denoise not in ("none", "median", "nlm"):
            raise ModelError(f"image spec has denoise {self.denoise!r}, expected none, median or nlm")
        if self.contrast not in ("none", "clahe"):
            raise ModelError(f"image spec has contrast {self.contrast!r}, expected none or clahe")
        if self.detector not in DETECTORS:
            raise ModelError(f"image spec has detector {self.detector!r}, expected {', '.join(DETECTORS)}")
        if self.version != 1:
            raise ModelError(f"image spec has version {self.version}, this code knows version 1: upgrade fer-pipeline")

    @property
    def fingerprint(self) -> str:
        """Return the first 12 hex digits of the SHA-256 of the spec's canonical JSON."""
        # Models of before the detector could be chosen keep theirs.
        values = self.table_values() if self.detector == DEFAULT_DETECTOR else asdict(self)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def table_values(self) -> dict[str, Any]:
        """Return what decides the images of a processed table: all but the detector."""
        return {name: value for name, value in asdict(self).items() if name != "detector"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImageSpec:
        """Read a spec written by `dataclasses.asdict`.

        Raises `ModelError` for unknown keys or values.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelError(f"image spec {values!r} does not fit this code: {error}") from error


def to_gray(image: UInt8Array) -> UInt8Array:
    """Convert RGB (H, W, 3) or gray (H, W, 1) or (H, W) to gray uint8 (H, W).

    Weights of ITU-R BT.601. Raises `ImageError` for another dtype or shape.
    """
    if image.dtype != np.uint8:
        raise ImageError(f"picture has dtype {image.dtype}, expected uint8 in 0..255")
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 1:
        return np.ascontiguousarray(image[:, :, 0])
    if image.ndim == 3 and image.shape[2] == 3:
        return _uint8(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    raise ImageError(f"picture has shape {image.shape}, expected (H, W), (H, W, 1) or (H, W, 3)")


def to_rgb(image: UInt8Array) -> UInt8Array:
    """Convert a gray image (H, W) or (H, W, 1) to RGB uint8 (H, W, 3).

    Returns the same array where it is RGB.
    """
    return image if image.ndim == 3 and image.shape[2] == 3 else _uint8(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))


def to_bgr(image: UInt8Array) -> UInt8Array:
    """Convert an RGB or gray image to BGR uint8 (H, W, 3), for OpenCV."""
    return _uint8(cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.ndim == 3 and image.shape[2] == 3 else cv2.COLOR_GRAY2BGR))


def shrink(image: UInt8Array, longest_side: int) -> UInt8Array:
    """Shrink an image by area averaging to a longer side of `longest_side` pixels.

    Returns the same array where it is not larger.
    """
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return _uint8(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def crop(image: UInt8Array, box_xyxy: tuple[float, float, float, float]) -> UInt8Array:
    """Crop the box, in pixels; outside the image the nearest edge is repeated.

    Raises `ImageError` where the box does not overlap the image.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(v) for v in box_xyxy)
    if x2 <= x1 or y2 <= y1 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise ImageError(f"box {box_xyxy} does not meet the picture of {width}x{height} pixels")
    inner = image[max(y1, 0) : min(y2, height), max(x1, 0) : min(x2, width)]
    pads = (max(-y1, 0), max(y2 - height, 0), max(-x1, 0), max(x2 - width, 0))
    if not any(pads):
        return np.ascontiguousarray(inner)
    return _uint8(cv2.copyMakeBorder(inner, *pads, borderType=cv2.BORDER_REPLICATE))


def crop_rotated(image: UInt8Array, box_xyxy: tuple[float, float, float, float], degrees: float) -> UInt8Array:
    """Crop the box after rotating the image counterclockwise about its centre."""
    x1, y1, x2, y2 = box_xyxy
    size = (max(1, round(x2 - x1)), max(1, round(y2 - y1)))
    reach = math.ceil(math.hypot(*size) / 2) + 1  # at any angle, the result is within this distance of the centre
    middle_x, middle_y = round((x1 + x2) / 2), round((y1 + y2) / 2)
    around = crop(image, (middle_x - reach, middle_y - reach, middle_x + reach, middle_y + reach))
    matrix = cv2.getRotationMatrix2D((reach - 0.5, reach - 0.5), degrees, 1.0)
    matrix = matrix + np.array([[0, 0, size[0] / 2 - reach], [0, 0, size[1] / 2 - reach]])
    return _uint8(cv2.warpAffine(around, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def rotate90(image: UInt8Array, quarters: int) -> UInt8Array:
    """Rotate an image by `quarters` * 90 degrees counterclockwise.

    Returns the same array for 0.
    """
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters % 4 else image


def rotate_box90(
    box_xyxy: tuple[float, float, float, float], image: UInt8Array, quarters: int
) -> tuple[float, float, float, float]:
    """Return the position of a box of `image` in `rotate90(image, quarters)`."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    boxes = ((x1, y1, x2, y2), (y1, width - x2, y2, width - x1), (width - x2, height - y2, width - x1, height - y1))
    return (*boxes, (height - y2, x1, height - y1, x2))[quarters % 4]


def to_model_input(image: UInt8Array, spec: ImageSpec) -> UInt8Array:
    """Convert a face crop, RGB or gray, to a model input uint8 (48, 48, 1).

    With the default spec a 48x48 gray image is unchanged.
    """
    return enhance(resize_face(to_gray(image)), spec)[:, :, np.newaxis]


def resize_face(gray: UInt8Array) -> UInt8Array:
    """Resize a gray face of any size to uint8 (48, 48).

    Area averaging to shrink, bilinear interpolation to enlarge, no-op at 48x48.
    """
    if gray.ndim != 2 or 0 in gray.shape:
        raise ImageError(f"face has shape {gray.shape}, expected a non-empty (H, W)")
    if gray.shape == (FACE_SIZE, FACE_SIZE):
        return gray
    shrinking = min(gray.shape) > FACE_SIZE
    return _uint8(cv2.resize(gray, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR))


def enhance(gray: UInt8Array, spec: ImageSpec) -> UInt8Array:
    """Apply the spec's denoising and contrast to gray uint8 (48, 48).

    Returns the same array where it has none.
    """
    if spec.denoise == "median":
        gray = _uint8(cv2.medianBlur(gray, 3))
    elif spec.denoise == "nlm":
        gray = _uint8(cv2.fastNlMeansDenoising(gray, None, h=5.0, templateWindowSize=5, searchWindowSize=13))
    if spec.contrast == "clahe":
        gray = _uint8(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(gray))
    return gray


def augment(gray: UInt8Array, *, mirror: bool, degrees: float, shift_xy: tuple[float, float], gain: float) -> UInt8Array:
    """Mirror, rotate, shift and brighten a gray image uint8 (H, W).

    Rotation about the centre in degrees, shift in pixels, brightness by the factor `gain`; edges are repeated.
    """
    height, width = gray.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix = matrix + np.array([[0, 0, shift_xy[0]], [0, 0, shift_xy[1]]])
    source = np.ascontiguousarray(gray[:, ::-1]) if mirror else gray
    moved = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _uint8(np.clip(np.rint(moved.astype(np.float32) * gain), 0, 255))


def content_hash(gray: UInt8Array) -> str:
    """Hash the shape and pixels of a gray image: 32 hex digits (BLAKE2b-128)."""
    digest = hashlib.blake2b(repr(gray.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(gray).tobytes())
    return digest.hexdigest()


def perceptual_hash(gray: UInt8Array) -> str:
    """Compute the 64-bit difference hash of a gray image, 16 hex digits.

    It is robust to small changes of brightness, noise and compression. Each bit is 1 where a cell of a 9x8 grid is darker than
    its right neighbour (N. Krawetz, "Kind of like that", 2013).
    """
    grid = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits(grid[:, 1:] > grid[:, :-1]).tobytes().hex()


def encode_png(image: UInt8Array) -> bytes:
    """Encode a gray (H, W) or RGB (H, W, 3) image as PNG."""
    ok, data = cv2.imencode(".png", image if image.ndim == 2 else to_bgr(image))
    if not ok:
        raise ImageError(f"picture of shape {image.shape} could not be written as PNG")
    return bytes(data)


def encode_jpeg(image: UInt8Array, quality: int = 90) -> bytes:
    """Encode a gray (H, W) or RGB (H, W, 3) image as JPEG, `quality` in 0..100."""
    ok, data = cv2.imencode(".jpg", image if image.ndim == 2 else to_bgr(image), (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not ok:
        raise ImageError(f"picture of shape {image.shape} could not be written as JPEG")
    return bytes(data)


def _uint8(image: Any) -> UInt8Array:
    return np.asarray(image, dtype=np.uint8)
