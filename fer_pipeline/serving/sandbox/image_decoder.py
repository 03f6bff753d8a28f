"""Interface of image decoders, and the one that decodes in this process."""

from __future__ import annotations

from typing import Protocol

from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import ALLOWED_FORMATS, MAX_PIXELS, UInt8Array, decode


class SlowImageError(ImageError):
    """An image that takes longer than its decoder may work on it."""


class ImageDecoder(Protocol):
    """Decoder of uploaded images.

    `decoder_pool.DecoderPool` decodes in confined processes.
    """

    def decode(
        self,
        data: bytes,
        formats: tuple[str, ...] = ALLOWED_FORMATS,
        max_pixels: int = MAX_PIXELS,
        max_seconds: float | None = None,
    ) -> UInt8Array:
        """Decode an image to RGB uint8 (height, width, 3).

        Raises `ImageError`, as `imaging.decode`; `SlowImageError` after `max_seconds`, if not earlier.
        """


class InProcessDecoder:
    """Decodes in the calling thread: for trusted images, and for tests."""

    def decode(
        self,
        data: bytes,
        formats: tuple[str, ...] = ALLOWED_FORMATS,
        max_pixels: int = MAX_PIXELS,
        max_seconds: float | None = None,
    ) -> UInt8Array:
        """Decode as `imaging.decode` does, to its end."""
        return decode(data, formats, max_pixels)
