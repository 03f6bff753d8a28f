"""Views of an image for test-time augmentation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fer_pipeline.imaging import UInt8Array

SHIFT = 2
"""Shift in pixels.

Five shifted images contain what the five 44 px crops of a 48 px face contain.
"""

OFFSETS = ((0, 0), (-SHIFT, -SHIFT), (-SHIFT, SHIFT), (SHIFT, -SHIFT), (SHIFT, SHIFT))
"""Shifts (down, right) in pixels."""

TTA_VIEWS = 2 * len(OFFSETS)


def tta_views(images: UInt8Array) -> Iterator[UInt8Array]:
    """Yield `TTA_VIEWS` versions of uint8 images (N, H, W, 1).

    The first is the image itself. Edge pixels repeat where a shift leaves a gap. These are the ten crops of Krizhevsky et al.
    2012, at full size.
    """
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    for down, right in OFFSETS:
        moved = padded[:, SHIFT + down : SHIFT + down + height, SHIFT + right : SHIFT + right + width]
        yield moved
        yield moved[:, :, ::-1]
