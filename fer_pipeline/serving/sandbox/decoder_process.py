"""The process that decodes uploaded pictures, started by `decoder_pool`.

It loads the image path once, reads no picture itself, and forks a decoder whenever it is told to, which takes a millisecond. A
decoder can compute and talk over its one socket; no files, no network, no other processes. Both end with the service's worker.
"""

from __future__ import annotations

import gc
import io
import math
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress

import numpy as np
from PIL import Image

from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import ALLOWED_FORMATS, decode
from fer_pipeline.serving.sandbox.confinement import die_with, leave_root, limit
from fer_pipeline.serving.sandbox.seccomp import allow_only
from fer_pipeline.serving.sandbox.system_calls import COMPUTING, signal_itself

# Between the service and this process.
START, END = b"+", b"-"
STARTED = struct.Struct("!I??")
"""Answer to `START` and a socket: the decoder's process, whether the kernel filters its calls, and whether it is not root."""
ENDING, ENDED = struct.Struct("!I"), struct.Struct("!i")
"""What follows `END`, and the answer: a decoder, which is killed, and its exit status, negative for a signal."""

# Between the service and a decoder.
REQUEST = struct.Struct("!IIB")
"""Bytes that follow, most pixels, and the formats as bits in the order of `ALLOWED_FORMATS`."""
ANSWER = struct.Struct("!?II")
"""Whether it was decoded; height and width of the RGB pixels that follow, or the bytes of the message and 0."""

MESSAGE_BYTES = 1000


def main(memory_megabytes: int, seconds: int) -> None:
    """Fork decoders with these limits until the caller is gone.

    The limits are those of address space, and of processor time for a picture.
    """
    _warm_up()
    decoders: set[int] = set()
    with socket.socket(fileno=sys.stdin.fileno()) as caller:
        while True:
            order, sockets, _, _ = socket.recv_fds(caller, 1, 1)
            if order == START:
                decoder, *confined = _forked(sockets[0], memory_megabytes, seconds)
                decoders.add(decoder)
                caller.sendall(STARTED.pack(decoder, *confined))
            elif order == END:
                (decoder,) = ENDING.unpack(received(caller, ENDING.size))
                caller.sendall(ENDED.pack(_ended(decoder) if decoder in decoders else 0))  # else it is one of a process before
                decoders.discard(decoder)
            else:  # decoders die with this process
                return


def received(stream: socket.socket, count: int) -> bytes:
    """The next `count` bytes. Raises `EOFError` where the other side is gone before."""
    parts = bytearray(count)
    rest = memoryview(parts)
    while rest:
        came = stream.recv_into(rest)
        if not came:
            raise EOFError(f"{count} bytes were expected, {len(rest)} of them did not come")
        rest = rest[came:]
    return bytes(parts)


def _forked(file: int, memory_megabytes: int, seconds: int) -> tuple[int, bool, bool]:
    owner = os.getpid()
    ready, told = os.pipe()
    decoder = os.fork()
    if decoder == 0:
        try:
            os.close(ready)
            with socket.socket(fileno=file) as stream:
                _confine(owner, told, memory_megabytes)
                _serve(stream, seconds)
        finally:
            os._exit(0)
    os.close(file)
    os.close(told)
    filtered, left_root = os.read(ready, 2).ljust(2, b"\0")
    os.close(ready)
    return decoder, bool(filtered), bool(left_root)


def _ended(decoder: int) -> int:
    os.kill(decoder, signal.SIGKILL)  # it is this process' child and not waited for yet, so the number is its own
    return os.waitstatus_to_exitcode(os.waitpid(decoder, 0)[1])


def _confine(owner: int, told: int, memory_megabytes: int) -> None:
    left_root = leave_root()
    die_with(owner)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # libraries print what they think of a picture
        os.dup2(nowhere, standard)
    os.close(nowhere)
    limit(
        {
            resource.RLIMIT_AS: 1_000_000 * memory_megabytes,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_NOFILE: 0,  # those that are open stay
            resource.RLIMIT_CORE: 0,
        }
    )
    filtered = allow_only((*COMPUTING, signal_itself(os.getpid())))
    if not filtered:  # the filter refuses other processes; this limit, threads as well, without which no HEIC is read
        limit({resource.RLIMIT_NPROC: 0})
    os.write(told, bytes([filtered, left_root]))
    os.close(told)


def _serve(stream: socket.socket, seconds: int) -> None:
    while True:
        try:
            count, max_pixels, bits = REQUEST.unpack(received(stream, REQUEST.size))
            data = received(stream, count)
        except EOFError:
            return
        _allow_processor_time(seconds)
        formats = tuple(name for n, name in enumerate(ALLOWED_FORMATS) if bits >> n & 1)
        try:
            image = np.ascontiguousarray(decode(data, formats, max_pixels))
        except (ImageError, MemoryError) as error:
            message = _words(error, count).encode(errors="replace")[:MESSAGE_BYTES]
            stream.sendall(ANSWER.pack(False, len(message), 0) + message)
        else:
            stream.sendall(ANSWER.pack(True, *image.shape[:2]))
            stream.sendall(image.data.cast("B"))
            del image, data  # not while it waits for the next one


def _words(error: ImageError | MemoryError, count: int) -> str:
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        return f"picture of {count:,} bytes needs too much memory: scale it down"
    return str(error)


def _allow_processor_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard))


def _warm_up() -> None:
    # Pillow imports the readers of the formats when it first meets them, which a decoder could not.
    with suppress(ImageError):  # no such picture, but its signature: imports and registers the reader, where it is installed
        decode(b"\0\0\0\x18ftypheic")
    for name in ALLOWED_FORMATS:
        if name in Image.SAVE:
            picture = io.BytesIO()
            Image.new("RGB", (8, 8)).save(picture, name, exif=Image.Exif())
            decode(picture.getvalue())
    with suppress(ImageError):
        decode(b"no picture")
    gc.freeze()  # what the collector does not touch stays shared with the decoders


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
