"""What the browser tests of recognition on the device share."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_pipeline.imaging import UInt8Array
from tests.serving.browsing import Site, Visit

BYTES = """
  const bytes = (text) => Uint8ClampedArray.from(atob(text), (letter) => letter.charCodeAt(0));
  const text = (data) => btoa(Array.from(data, (value) => String.fromCharCode(value)).join(""));
"""


LOADED = "document.getElementById('loaded').textContent.includes('is loaded')"


def asked_of(model: Path, browser: Any, tmp_path: Path, before: str = "") -> str:
    """What the page says when this model is asked for on the device."""
    site = Site(model, tmp_path / "videos")
    visit = Visit(browser, site.address, before=before)
    visit.page.check("#where-device")
    visit.wait("!error.hidden")
    words = visit.words("error")
    visit.close()
    site.close()
    return words


def pictures() -> list[UInt8Array]:
    """RGB pictures of many sizes: smooth shapes with some noise."""
    random = np.random.default_rng(0)
    made = []
    for width, height in ((320, 240), (223, 301), (96, 96), (97, 101), (48, 48), (30, 47), (20, 20), (47, 90)):
        coarse = random.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
        made.append(np.clip(smooth + random.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8))
    return made


def crowd(face: UInt8Array) -> UInt8Array:
    """RGB (700, 1200, 3): the drawn face in several sizes, tints and angles, on a background with some structure."""
    head = face[90:310, 190:410]
    canvas = np.asarray(cv2.GaussianBlur(np.random.default_rng(1).integers(60, 200, (700, 1200, 3), dtype=np.uint8), (0, 0), 4))
    for x, y, side, degrees, tint in (
        (40, 60, 300, 0, 1.0),
        (420, 200, 120, 6, 0.8),
        (640, 90, 220, -7, 1.15),
        (950, 300, 90, 0, 0.7),
    ):
        turned = cv2.warpAffine(
            head, cv2.getRotationMatrix2D((110, 110), degrees, 1.0), (220, 220), borderMode=cv2.BORDER_REPLICATE
        )
        small = cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA)
        canvas[y : y + side, x : x + side] = np.clip(small * np.array([tint, 1.0, 2 - tint]), 0, 255)
    return canvas


def called(visit: Visit, script: str, **values: Any) -> Any:
    """The result of an asynchronous function of `values`, in which arrays are base64 text."""
    plain = {k: base64.b64encode(v.tobytes()).decode() if isinstance(v, np.ndarray) else v for k, v in values.items()}
    return visit.page.evaluate(f"async (values) => {{ {BYTES} {script} }}", plain)
