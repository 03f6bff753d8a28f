"""Decode the bytes of an image file to RGB, within limits of size and work."""

from __future__ import annotations

import functools
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, Image, UnidentifiedImageError

from fer_pipeline.errors import ImageError
from fer_pipeline.imaging.jpeg_scans import JpegScans

UInt8Array = npt.NDArray[np.uint8]

MAX_PIXELS = 50_000_000
"""Largest image that is decoded, in pixels."""

MAX_SCANS, MAX_SCAN_PIXELS = 100, 1_000_000_000
"""Most scans of a JPEG, and most pixels over all of them.

Each scan passes over all pixels again. Encoders write about 10; a file of 600 kB can hold thousands.
"""

MAX_RLE_PIXELS = 1_000_000
"""Largest run-length encoded BMP: Pillow decodes it pixel by pixel in Python."""

ALLOWED_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
"""Image formats that are decoded, recognized by content, not by file name.

HEIF is what iPhones write (.heic); it needs the package pillow-heif.
"""

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp"),
    *(".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"),
)
"""Endings, in small letters, of the files that are taken for images where a folder or an archive is searched."""

# Pillow's own limits are above ours; at the lower one it only warns, on stderr.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# What is wrong with a TIFF is said by the error, or does not matter.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")

# One thread for each picture: pictures are decoded side by side, and the confined decoders may start no thread.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
"""What follows "ftyp" at byte 4 of a HEIF file; the last two are those of AVIF files as well."""

_EXIF_ORIENTATION = 0x0112
_EXIF_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_END_OF_JPEG = b"\xff\xd9"
_OTHER_BITS = bytes(0x80 | (n * 89 + 37) % 127 for n in range(64))
# Restart markers among them: without one, nothing is read where data are missing after it.
_OTHER_DATA = _OTHER_BITS + b"".join(b"\xff" + bytes([0xD0 + n]) + _OTHER_BITS for n in range(8))

_Note = Callable[[str], None]


def decode(
    data: bytes,
    formats: tuple[str, ...] = ALLOWED_FORMATS,
    max_pixels: int = MAX_PIXELS,
    on_note: _Note | None = None,
) -> UInt8Array:
    """Decode an image to RGB uint8 (H, W, 3), upright by its EXIF orientation.

    The first frame of an animation. Transparent pixels show white, or black where white would leave a blank image. 16 bits a
    channel are scaled to 8; where only the lower 8, 10 or 12 are used, these are, and `on_note` is called with a sentence that
    says so; without it the sentence is logged, once a process. A JPEG that lacks nothing but its end marker is complete.

    `formats` are Pillow's names. Raises `ImageError` where the bytes are not an image of these formats, are truncated, have more
    than `max_pixels`, or need much more work than a photograph of that size (`MAX_SCANS`, `MAX_RLE_PIXELS`); also for HEIF where
    pillow-heif is not installed.
    """
    try:
        readable = _with_plugin(data, formats)
        jpeg = JpegScans.read(data, MAX_SCANS) if data.startswith(b"\xff\xd8") else JpegScans()
        if jpeg.count > MAX_SCANS:
            raise ImageError(f"JPEG has more than {MAX_SCANS} scans, which no photograph has: save it anew")
        image = _decode(data + _END_OF_JPEG if jpeg.lacks_end else data, readable, max_pixels, jpeg.count, on_note or _log_once)
        if jpeg.lacks_end:
            # libjpeg fills up what is missing without an error. What follows changes the pixels only where data are missing.
            other = _decode(data + _OTHER_DATA + _END_OF_JPEG, readable, max_pixels, jpeg.count, on_note or _log_once)
            if not np.array_equal(image, other):
                raise ImageError(f"picture of {len(data):,} bytes cannot be decoded: image file is truncated")
        return image
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"picture has too many pixels, at most {max_pixels:,} are read: scale it down") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{len(data):,} bytes that are no {', '.join(formats)} picture") from error
    except Exception as error:  # for damaged files Pillow raises many types: struct.error, TypeError, ...
        raise ImageError(f"picture of {len(data):,} bytes cannot be decoded: {error}") from error


def from_pil(image: Image.Image, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Convert a PIL image to RGB uint8 (H, W, 3), as `decode` converts that of a file.

    The frame that it stands at. Raises `ImageError` where it has more than `max_pixels`, or its file cannot be read.
    """
    if image.width * image.height > max_pixels:
        raise ImageError(f"picture has {image.width}x{image.height} pixels, at most {max_pixels:,} are read: scale it down")
    try:
        return _pixels(image, None, _log_once)
    except ImageError:
        raise
    except Exception as error:  # it reads the file only now, see `decode`
        raise ImageError(f"PIL image cannot be read: {error}") from error


def _with_plugin(data: bytes, formats: tuple[str, ...]) -> tuple[str, ...]:
    """Register the plugin for HEIF where it is needed; else leave HEIF out."""
    if "HEIF" not in formats:
        return formats
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        try:
            import pillow_heif  # an extra, and only for such pictures
        except ImportError as error:
            raise ImageError(
                "HEIC picture, which is read with the package pillow-heif only: `pip install 'fer-pipeline[heic]'`, or save it "
                "as JPEG"
            ) from error
        pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=0)
        return formats
    return tuple(name for name in formats if name != "HEIF")


def _decode(data: bytes, formats: tuple[str, ...], max_pixels: int, scans: int, on_note: _Note) -> UInt8Array:
    with Image.open(io.BytesIO(data), formats=formats) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(f"picture has {width}x{height} pixels, at most {max_pixels:,} are read: scale it down")
        _check_work(image, scans)
        return _pixels(image, data, on_note)


def _pixels(image: Image.Image, data: bytes | None, on_note: _Note) -> UInt8Array:
    image.load()
    # Not ImageOps.exif_transpose: it rewrites the EXIF block, which fails on damaged ones.
    turn = _EXIF_TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    shown = _opaque(_eight_bits(image, data, on_note))
    return np.asarray(shown if turn is None else shown.transpose(turn), dtype=np.uint8)


def _check_work(image: Image.Image, scans: int) -> None:
    pixels = image.width * image.height
    if scans * pixels > MAX_SCAN_PIXELS:
        raise ImageError(
            f"JPEG has {scans} scans of {image.width}x{image.height} pixels, at most {MAX_SCAN_PIXELS:,} pixels are read over "
            "all scans: save it anew"
        )
    if pixels > MAX_RLE_PIXELS and any(tile.codec_name == "bmp_rle" for tile in getattr(image, "tile", ())):
        raise ImageError(f"run-length encoded BMP has {pixels:,} pixels, at most {MAX_RLE_PIXELS:,} are read: save it as PNG")


def _eight_bits(image: Image.Image, data: bytes | None, on_note: _Note) -> Image.Image:
    """Scale an image of 16 bits a channel to 8; return any other as it is."""
    if image.mode == "F":
        raise ImageError("picture of floating-point values, whose range is not known: save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # gray, which Pillow's own conversion would clip to white
        return Image.fromarray(_scaled(np.asarray(image).astype(np.int32), on_note))
    if data is None or image.format != "PNG" or data[24] != 16:
        return image
    extrema: Any = image.getextrema()  # a pair for each band
    if any(high > 15 for _, high in extrema[: 1 if image.mode == "LA" else 3]):
        return image
    # Pillow keeps the upper 8 bits only, and here they are nearly empty.
    deep: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return image
    alpha = (deep[:, :, 3:] >> 8).astype(np.uint8)
    return Image.fromarray(np.concatenate([_scaled(deep[:, :, 2::-1].astype(np.int32), on_note), alpha], axis=2))


def _scaled(values: npt.NDArray[np.int32], on_note: _Note) -> UInt8Array:
    highest = int(values.max(initial=0))
    bits = next((bits for bits in (8, 10, 12) if 0 < highest < 1 << bits), 16)
    if bits < 16:
        on_note(f"16-bit picture uses the lower {bits} bits only: these were taken as its full range")
    return np.clip(values * 255 // ((1 << bits) - 1), 0, 255).astype(np.uint8)


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    colours = rgba.convert("RGB")
    for ground in ("white", "black"):
        shown = Image.new("RGB", image.size, ground)
        shown.paste(colours, mask=alpha)
        extrema: Any = shown.getextrema()
        if any(low != high for low, high in extrema):
            return shown
    return Image.new("RGB", image.size, "white")


@functools.cache
def _log_once(text: str) -> None:
    logging.getLogger(__name__).warning(text)
