from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from prometheus_client import REGISTRY

from fer_pipeline import imaging
from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import ALLOWED_FORMATS
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.sandbox.decoder_pool import DecoderPool
from fer_pipeline.serving.sandbox.image_decoder import SlowImageError
from fer_pipeline.serving.settings import Limits

ROOT = Path(__file__).parents[3]


def picture(format_: str = "PNG", size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


SMALL = picture()


def nurseries() -> set[psutil.Process]:
    """The processes that start decoders, one for each open sandbox."""
    return {child for child in psutil.Process().children() if "fer_pipeline.serving.sandbox.decoder_process" in child.cmdline()}


@contextmanager
def opened(decoders: int = 1, **limits: int) -> Iterator[tuple[DecoderPool, psutil.Process]]:
    """A sandbox and its process, whose children are the decoders."""
    others = nurseries()
    sandbox = DecoderPool(decoders, Limits(**limits))
    try:
        (nursery,) = nurseries() - others
        yield sandbox, nursery
    finally:
        sandbox.close()


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[DecoderPool, psutil.Process]]:
    with opened(2) as sandbox:
        yield sandbox


@pytest.fixture
def shared(two: tuple[DecoderPool, psutil.Process]) -> DecoderPool:
    return two[0]


@pytest.mark.parametrize("format_", ALLOWED_FORMATS)
def test_the_pixels_are_those_of_the_image_path(shared: DecoderPool, format_: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    kept = format_ not in ("BMP", "GIF", "HEIF")  # HEIF turns pictures by a property of its own
    data = picture(format_, **({"exif": turned} if kept else {}))
    found = shared.decode(data)
    assert np.array_equal(found, imaging.decode(data))
    assert found.flags.writeable
    assert found.shape == ((40, 30, 3) if kept else (30, 40, 3))


def test_a_heic_of_several_tiles_comes_through(shared: DecoderPool) -> None:
    data = picture("HEIF", (300, 200), tile_size=64)  # as phones write it
    assert np.array_equal(shared.decode(data), imaging.decode(data))


@pytest.mark.parametrize(
    ("data", "formats", "max_pixels"),
    [
        (b"", ALLOWED_FORMATS, 100),  # nothing
        (b"\xff\xd8\xffhello", ALLOWED_FORMATS, 100),  # a signature alone
        (SMALL[:-40], ALLOWED_FORMATS, 10_000),  # cut short
        (SMALL, ("JPEG",), 10_000),  # of another format
        (SMALL, ALLOWED_FORMATS, 1199),  # too large by a pixel
    ],
)
def test_what_the_image_path_refuses_is_refused_in_its_words(
    two: tuple[DecoderPool, psutil.Process], data: bytes, formats: tuple[str, ...], max_pixels: int
) -> None:
    with pytest.raises(ImageError) as here:
        imaging.decode(data, formats, max_pixels)
    before = two[1].children()
    with pytest.raises(ImageError) as there:
        two[0].decode(data, formats, max_pixels)
    assert str(there.value) == str(here.value)
    assert two[1].children() == before  # it is no fault of the decoder


def test_each_of_several_threads_gets_its_own_picture(shared: DecoderPool) -> None:
    pictures = [picture(size=(20 + n, 700)) for n in range(24)]
    with ThreadPoolExecutor(6) as threads:
        widths = [image.shape[1] for image in threads.map(shared.decode, pictures)]
    assert widths == [20 + n for n in range(24)]


def test_a_large_picture_comes_through(shared: DecoderPool) -> None:
    data = picture("BMP", (1500, 1000))
    assert np.array_equal(shared.decode(data), imaging.decode(data))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_decoder_has_only_its_socket_open(two: tuple[DecoderPool, psutil.Process]) -> None:
    """A decoder has nothing open but its socket and can open nothing."""
    assert len(two[1].children()) == 2
    for decoder in two[1].children():
        status = Path(f"/proc/{decoder.pid}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        assert os.getuid() != 0 or "Uid:\t65534\t65534" in status
        targets = [str(link.readlink()).split(":")[0] for link in Path(f"/proc/{decoder.pid}/fd").iterdir()]
        assert sorted(targets) == ["/dev/null", "/dev/null", "/dev/null", "socket"]
        assert "onnxruntime" not in Path(f"/proc/{decoder.pid}/maps").read_text()


def test_a_picture_that_blocks_its_decoder_is_refused() -> None:
    """A picture that blocks its decoder is refused and the next one read."""
    with opened(max_decode_seconds=1) as (sandbox, nursery):
        (decoder,) = nursery.children()
        decoder.suspend()
        start = time.monotonic()
        with pytest.raises(ImageError, match=r"picture of .* cannot be decoded: it takes more than 1 s"):
            sandbox.decode(SMALL)
        assert 0.9 < time.monotonic() - start < 10
        assert sandbox.decode(SMALL).shape == (30, 40, 3)
        assert len(nursery.children()) == 1
        assert nursery.children() != [decoder]


def test_a_caller_may_allow_less_time() -> None:
    """So a frame of a camera does not hold the thread of all cameras for as long as a picture may take."""
    with opened(max_decode_seconds=20) as (sandbox, nursery):
        nursery.children()[0].suspend()
        with pytest.raises(SlowImageError, match=r"it takes more than 0\.2 s"):
            sandbox.decode(SMALL, max_seconds=0.2)
        assert sandbox.decode(SMALL).shape == (30, 40, 3)


def test_a_picture_that_kills_its_decoder_is_refused() -> None:
    """A picture that kills its decoder is refused and the next one read."""
    broken = REGISTRY.get_sample_value("fer_broken_decoders_total") or 0
    with opened() as (sandbox, nursery):
        (decoder,) = nursery.children()
        decoder.suspend()  # so that it surely is at work when it dies
        threading.Timer(0.3, lambda: (decoder.send_signal(signal.SIGSEGV), decoder.resume())).start()
        with pytest.raises(ImageError, match="breaks its decoder"):
            sandbox.decode(SMALL)
        assert sandbox.decode(SMALL).shape == (30, 40, 3)
    assert REGISTRY.get_sample_value("fer_broken_decoders_total") == broken + 1


def test_a_decoder_killed_while_idle_is_replaced() -> None:
    """A decoder that was killed while idle is replaced unnoticed."""
    with opened() as (sandbox, nursery):
        (decoder,) = nursery.children()
        decoder.kill()
        wait_until(lambda: has_ended(decoder))
        assert sandbox.decode(SMALL).shape == (30, 40, 3)
        assert not decoder.is_running()  # it was waited for, too


def test_the_process_that_starts_decoders_may_die() -> None:
    with opened(2) as (sandbox, nursery):
        decoders = nursery.children()
        nursery.kill()
        wait_until(lambda: all(has_ended(decoder) for decoder in decoders))
        assert [sandbox.decode(SMALL).shape for _ in range(3)] == [(30, 40, 3)] * 3


def test_a_picture_of_too_much_memory_is_refused() -> None:
    """A picture that needs too much memory is refused and the next one read."""
    buffer = io.BytesIO()
    Image.new("RGB", (5000, 3000)).save(buffer, "PNG", compress_level=1)
    with opened(max_decode_memory_megabytes=330) as (sandbox, nursery):
        decoders = nursery.children()
        with pytest.raises(ImageError, match="needs too much memory: scale it down"):
            sandbox.decode(buffer.getvalue())
        assert sandbox.decode(SMALL).shape == (30, 40, 3)
        assert nursery.children() == decoders


def test_closing_leaves_no_process() -> None:
    with opened(2) as (sandbox, nursery):
        processes = [nursery, *nursery.children()]
    wait_until(lambda: all(has_ended(process) for process in processes))
    with pytest.raises(RefusedError, match="no picture can be decoded now"):
        sandbox.decode(SMALL)


def test_a_killed_service_leaves_no_process() -> None:
    script = """
import os, sys
from fer_pipeline.serving.sandbox.decoder_pool import DecoderPool
from fer_pipeline.serving.settings import Limits
sandbox = DecoderPool(2, Limits())
sys.stdout.write("started\\n")
sys.stdout.flush()
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "started\n"
        started = psutil.Process(service.pid).children(recursive=True)
        assert len(started) == 3
        service.kill()
    wait_until(lambda: all(has_ended(process) for process in started))
