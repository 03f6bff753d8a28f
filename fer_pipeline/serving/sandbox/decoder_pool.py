"""Decode uploaded images in confined processes, started beforehand.

An image that breaks or blocks its decoder is refused; another decoder takes the place. Handing an image of 640x480 over takes
0.3 ms more than decoding it here. Nothing that a decoder sends is trusted or unpickled.
"""

from __future__ import annotations

import logging
from queue import LifoQueue

from fer_pipeline.errors import ImageError, ToolUnavailableError
from fer_pipeline.imaging import ALLOWED_FORMATS, MAX_PIXELS, UInt8Array
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.sandbox.fork_server import BrokenDecoderError, Decoder, ForkServer, SlowDecoderError
from fer_pipeline.serving.sandbox.image_decoder import SlowImageError
from fer_pipeline.serving.settings import Limits

_RETRY_SECONDS = 5

logger = logging.getLogger(__name__)


class DecoderPool:
    """Decoders for several images at a time; safe for threads.

    `close` ends their processes.
    """

    def __init__(self, decoders: int, limits: Limits) -> None:
        """Starts them. Raises `ToolUnavailableError` where that fails."""
        self._seconds = limits.max_decode_seconds
        self._fork_server = ForkServer(limits)
        self._idle: LifoQueue[Decoder | None] = LifoQueue()
        started = [self._fork_server.started() for _ in range(decoders)]
        for decoder in started:
            self._idle.put(decoder)
        if not all(decoder.filtered for decoder in started):
            logger.warning("this kernel filters no system calls: a decoder of pictures that is broken into can reach the network")
        if not all(decoder.left_root for decoder in started):
            logger.warning(
                "this root may become no other user: run the service as a plain user, so that nobody breaks in as root"
            )

    def decode(
        self,
        data: bytes,
        formats: tuple[str, ...] = ALLOWED_FORMATS,
        max_pixels: int = MAX_PIXELS,
        max_seconds: float | None = None,
    ) -> UInt8Array:
        """What `imaging.decode` returns of the same arguments, and what it raises.

        Raises `ImageError` also where the picture breaks its decoder or takes more memory than a picture may, `SlowImageError`
        where it takes more time or more than `max_seconds`, and `RefusedError` (429) where no decoder can be started now.
        """
        decoder, kept = self._idle.get(), None
        try:
            if decoder is None or decoder.is_gone():
                if decoder is not None:
                    self._fork_server.ended(decoder)
                decoder = self._started()
            try:
                seconds = self._seconds if max_seconds is None else min(max_seconds, self._seconds)
                image = decoder.decode(data, formats, max_pixels, seconds)
            except BrokenDecoderError as error:
                status = self._fork_server.ended(decoder)
                metrics.BROKEN_DECODERS.inc()
                logger.warning("a picture of %d bytes ended its decoder (%s; status %s)", len(data), error, status)
                kind = SlowImageError if isinstance(error, SlowDecoderError) else ImageError
                raise kind(f"picture of {len(data):,} bytes cannot be decoded: {error}") from error
            except ImageError:
                kept = decoder
                raise
            kept = decoder
            return image
        finally:
            self._idle.put(kept)  # None: the next picture starts a new one

    def _started(self) -> Decoder:
        try:
            return self._fork_server.started()
        except ToolUnavailableError as error:  # out of processes or memory, or closing
            logger.warning("a picture could not be decoded: %s", error)
            raise RefusedError(429, "no_decoder", "no picture can be decoded now; try again soon", _RETRY_SECONDS) from error

    def close(self) -> None:
        """Ends all processes; pictures that are being decoded fail."""
        self._fork_server.close()
