"""Image corruptions for face images, each at five strengths.

Results depend on the inputs and the random generator alone. The kinds follow Hendrycks and Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations" (2019); the strengths are set for faces of 48x48 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from fer_pipeline.imaging import UInt8Array, augment, resize_face, shrink

STRENGTHS: Final = 5


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    `apply` takes a gray face uint8 (48, 48), one of `strengths` (mildest first) and a generator; it returns a gray face
    uint8 (48, 48).
    """

    name: str
    unit: str
    strengths: tuple[float, float, float, float, float]
    apply: Callable[[UInt8Array, float, np.random.Generator], UInt8Array]


def noise(gray: UInt8Array, deviation: float, rng: np.random.Generator) -> UInt8Array:
    """Add normal noise of this standard deviation in gray levels."""
    return np.clip(np.rint(gray + rng.normal(0, deviation, gray.shape)), 0, 255).astype(np.uint8)


def blur(gray: UInt8Array, sigma: float, _: np.random.Generator) -> UInt8Array:
    """Apply a Gaussian blur of this standard deviation in pixels."""
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)


def jpeg(gray: UInt8Array, quality: float, _: np.random.Generator) -> UInt8Array:
    """Compress as JPEG of this quality, 1..100."""
    _ok, data = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def gain(gray: UInt8Array, factor: float, _: np.random.Generator) -> UInt8Array:
    """Multiply gray values by a factor; results above 255 become 255."""
    return np.clip(np.rint(gray.astype(np.float64) * factor), 0, 255).astype(np.uint8)


def rotation(gray: UInt8Array, degrees: float, rng: np.random.Generator) -> UInt8Array:
    """Rotate by this angle to a random side; edge pixels are repeated."""
    side = float(rng.choice((-1, 1)))
    return augment(gray, mirror=False, degrees=degrees * side, shift_xy=(0.0, 0.0), gain=1.0)


def occlusion(gray: UInt8Array, share: float, rng: np.random.Generator) -> UInt8Array:
    """Cover a random square of this share of the area with the mean gray."""
    height, width = gray.shape
    side = round((share * height * width) ** 0.5)
    top, left = (int(rng.random() * (length - side + 1)) for length in (height, width))
    covered = gray.copy()
    covered[top : top + side, left : left + side] = round(float(gray.mean()))
    return covered


def down_scaling(gray: UInt8Array, side: float, _: np.random.Generator) -> UInt8Array:
    """Shrink to this width in pixels by area, then enlarge bilinearly."""
    return resize_face(shrink(gray, int(side)))


CORRUPTIONS: Final = (
    Corruption("noise", "standard deviation, gray levels", (8, 16, 24, 32, 48), noise),
    Corruption("blur", "standard deviation, pixels", (0.5, 1, 1.5, 2, 3), blur),
    Corruption("jpeg", "quality", (50, 30, 20, 10, 5), jpeg),
    Corruption("darker", "factor", (0.7, 0.5, 0.35, 0.2, 0.1), gain),
    Corruption("brighter", "factor", (1.2, 1.5, 1.8, 2.2, 3), gain),
    Corruption("rotation", "degrees", (10, 20, 30, 40, 50), rotation),
    Corruption("occlusion", "share of the area", (0.05, 0.1, 0.2, 0.3, 0.4), occlusion),
    Corruption("down-scaling", "width of the face, pixels", (36, 28, 20, 14, 10), down_scaling),
)
