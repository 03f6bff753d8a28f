"""Start decoders of images, and hand them images: the side of the service.

Nothing that a decoder sends is trusted or unpickled.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock

import numpy as np

from fer_pipeline.errors import ImageError, ToolUnavailableError
from fer_pipeline.imaging import ALLOWED_FORMATS, UInt8Array
from fer_pipeline.serving.sandbox.decoder_process import (
    ANSWER,
    END,
    ENDED,
    ENDING,
    MESSAGE_BYTES,
    REQUEST,
    START,
    STARTED,
    received,
)
from fer_pipeline.serving.settings import Limits

_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(16 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}
"""What glibc reads: a decoder keeps so much for its next picture. To hand it back and fetch it again took 1.6 ms at 640x480."""

_START_SECONDS = 60
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]


class BrokenDecoderError(Exception):
    """A picture broke or blocked its decoder."""


class SlowDecoderError(BrokenDecoderError):
    """A picture took more time than it may."""


class Decoder:
    """One process; not safe for several threads."""

    def __init__(self, process: int, filtered: bool, left_root: bool, stream: socket.socket) -> None:
        self.process = process
        self.filtered = filtered
        self.left_root = left_root
        self._stream = stream

    def is_gone(self) -> bool:
        self._stream.setblocking(False)
        try:
            self._stream.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True  # it says nothing unasked, so this is its end

    def decode(self, data: bytes, formats: tuple[str, ...], max_pixels: int, seconds: float) -> UInt8Array:
        bits = sum(1 << n for n, name in enumerate(ALLOWED_FORMATS) if name in formats)
        end = time.monotonic() + seconds
        try:
            self._stream.settimeout(seconds)
            self._stream.sendall(REQUEST.pack(len(data), max_pixels, bits))
            self._stream.sendall(data)
            decoded, height, width = ANSWER.unpack(self._received(ANSWER.size, end).tobytes())
            if not decoded:
                raise ImageError(self._received(min(height, MESSAGE_BYTES), end).tobytes().decode(errors="replace"))
            if not (height and width and height * width <= max_pixels):
                raise BrokenDecoderError(f"its decoder answers with {width}x{height} pixels")
            return self._received(3 * height * width, end).reshape(height, width, 3)
        except TimeoutError as error:
            raise SlowDecoderError(f"it takes more than {seconds:g} s") from error
        except (OSError, EOFError) as error:
            raise BrokenDecoderError("it breaks its decoder, or needs too much time or memory") from error

    def close(self) -> None:
        self._stream.close()

    def _received(self, count: int, end: float) -> UInt8Array:
        content = np.empty(count, np.uint8)
        rest = content.data
        while rest:
            self._stream.settimeout(max(0.001, end - time.monotonic()))
            came = self._stream.recv_into(rest)
            if not came:
                raise EOFError
            rest = rest[came:]
        return content


class ForkServer:
    """The process that forks the decoders; it is started again where it is gone."""

    def __init__(self, limits: Limits) -> None:
        self._arguments = [str(limits.max_decode_memory_megabytes), str(limits.max_decode_seconds)]
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._caller: socket.socket | None = None
        self._closed = False

    def started(self) -> Decoder:
        with self._lock:
            try:
                return self._start()
            except (OSError, EOFError):
                self._stop()  # the process is gone: once more with a new one
                try:
                    return self._start()
                except (OSError, EOFError) as error:
                    raise ToolUnavailableError(f"no process that decodes pictures can be started: {error}") from error

    def ended(self, decoder: Decoder) -> int | None:
        """Kills a decoder; its exit status, None where the one that knows it is gone."""
        decoder.close()
        with self._lock:
            if self._caller is None:
                return None
            try:
                self._caller.sendall(END + ENDING.pack(decoder.process))
                status: int = ENDED.unpack(received(self._caller, ENDED.size))[0]
            except (OSError, EOFError):
                self._stop()
                return None
            return status

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._stop()

    def _start(self) -> Decoder:
        if self._closed:
            raise ToolUnavailableError("the service is ending and decodes no more pictures")
        caller = self._caller
        if caller is None:
            caller = self._opened()
        own, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(caller, [START], [theirs.fileno()])
            process, filtered, left_root = STARTED.unpack(received(caller, STARTED.size))
        except BaseException:
            own.close()
            raise
        return Decoder(process, filtered, left_root, own)

    def _opened(self) -> socket.socket:
        own, theirs = socket.socketpair()
        own.settimeout(_START_SECONDS)
        command = [sys.executable, "-P", "-m", "fer_pipeline.serving.sandbox.decoder_process", *self._arguments]
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(_PACKAGE_ROOT),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            **_KEPT_MEMORY,
        }
        with theirs:
            self._process = subprocess.Popen(
                command, cwd="/", env=environment, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True
            )
        self._caller = own
        return own

    def _stop(self) -> None:
        if self._caller is not None:
            self._caller.close()  # it ends then, and with it the decoders
            self._caller = None
        if self._process is not None:
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
