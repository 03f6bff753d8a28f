"""The views of a picture whose answers test-time augmentation averages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fer_pipeline.imaging import UInt8Array

SHIFT = 2
"""Pixels; five pictures shifted by this much hold what the five crops of 44 px of a 48 px face hold."""

OFFSETS = ((0, 0), (-SHIFT, -SHIFT), (-SHIFT, SHIFT), (SHIFT, -SHIFT), (SHIFT, SHIFT))

VIEWS = 2 * len(OFFSETS)


def views(images: UInt8Array) -> Iterator[UInt8Array]:
    """Ten versions of uint8 pictures (N, H, W, 1): five places, each as it is and mirrored; the picture itself comes first.

    Edges repeat where a shift leaves a gap. The usual ten crops (Krizhevsky et al. 2012) but for the size, which stays.
    """
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    for down, right in OFFSETS:
        moved = padded[:, SHIFT + down : SHIFT + down + height, SHIFT + right : SHIFT + right + width]
        yield moved
        yield moved[:, :, ::-1]
