"""Interface of image decoders, and the one that decodes in this process."""

from __future__ import annotations

from typing import Protocol

from fer_pipeline.imaging import ALLOWED_FORMATS, MAX_PIXELS, UInt8Array, decode


class ImageDecoder(Protocol):
    """Decoder of uploaded images.

    `decoder_pool.DecoderPool` decodes in confined processes.
    """

    def decode(self, data: bytes, formats: tuple[str, ...] = ALLOWED_FORMATS, max_pixels: int = MAX_PIXELS) -> UInt8Array:
        """Decode an image to RGB uint8 (height, width, 3).

        Raises `ImageError`, as `imaging.decode`.
        """


class InProcessDecoder:
    """Decodes in the calling thread: for trusted images, and for tests."""

    def decode(self, data: bytes, formats: tuple[str, ...] = ALLOWED_FORMATS, max_pixels: int = MAX_PIXELS) -> UInt8Array:
        """Decode as `imaging.decode` does."""
        return decode(data, formats, max_pixels)
