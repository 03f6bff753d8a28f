"""Files for recognition in the browser: runtime, network, face detector."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any
from xml.etree import ElementTree

from fer_pipeline.errors import ModelError
from fer_pipeline.inference.detection import centerface, haar, upright, yunet
from fer_pipeline.inference.detection.faces import DETECTION_SIDE
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.model_info import MODEL_FILE

RUNTIME = Path(__file__).parents[1] / "web" / "vendor" / "onnxruntime-web"
"""onnxruntime-web as `vendoring.renew` stores it."""

MANIFEST = "vendor.json"
WASM = "ort-wasm-simd-threaded.wasm"
"""The WebAssembly of onnxruntime-web; it lies in `RUNTIME` packed with xz."""

# Two sides of 640 px in the shape of YuNet's input as protobuf writes them (1, 3, 640, 640), and the same left open under names.
_FIXED_SIDES = b"\x0a\x02\x08\x01\x0a\x02\x08\x03" + 2 * b"\x0a\x03\x08\x80\x05"
_FREE_SIDES = b"\x0a\x02\x08\x01\x0a\x02\x08\x03" + b"\x0a\x03\x12\x01h" + b"\x0a\x03\x12\x01w"

_unpacking = Lock()


def network_file(model: PortableModel) -> bytes:
    """The ONNX file of the model."""
    return _file(model, MODEL_FILE)


def detector_file(model: PortableModel, name: str) -> bytes:
    """Return the file of the face detector "centerface", "haar" or "yunet".

    They are a cascade as JSON (`haar_cascade`), and ONNX files for pictures of any size.

    Raises `ModelError` for another name or another YuNet than the published one.
    """
    if name == "centerface":
        return (centerface.VENDORED / centerface.NETWORK).read_bytes()
    if name == "haar":
        return haar_cascade()
    if name == "yunet":
        return free_sides(_file(model, yunet.YUNET_FILE))
    raise ModelError(f"the face detector {name} has no file for the page, expected centerface, haar or yunet")


def detector_facts(name: str) -> dict[str, Any]:
    """By which values the detector works; they are those of `faces`."""
    longest_side = DETECTION_SIDE
    if name == "haar":
        values: dict[str, Any] = {"neighbours": haar.HAAR_MIN_NEIGHBOURS, "smallest": haar.HAAR_MIN_SIDE}
    elif name == "yunet":
        side, left, top = yunet.YUNET_FRAMING
        values = {"threshold": yunet.YUNET_MIN_SCORE, "framing": {"side": side, "left": left, "top": top}}
    else:
        longest_side = centerface.CENTERFACE_SIDE
        width, x, y = centerface.CENTERFACE_FRAMING
        values = {"threshold": centerface.CENTERFACE_MIN_SCORE, "framing": {"width": width, "x": x, "y": y}}
    bounds = {
        "min_score": upright.MIN_TURNED_SCORE[name],
        "max_lean": upright.MAX_LEAN,
        "min_eye_distance": upright.MIN_EYE_DISTANCE,
        "min_height": upright.MIN_HEIGHT,
    }
    return {"name": name, "longest_side": longest_side, **values, "upright": bounds}


@lru_cache(maxsize=1)
def haar_cascade() -> bytes:
    """OpenCV's cascade as JSON: `side` of its window in pixels, `stages` and `stumps`.

    A stage ends before stump number `end` and is passed by a sum of at least `threshold`; a stump adds `left` where its
    `rectangles` (x, y, width, height, weight) sum up to less than its `threshold`, else `right`.
    """
    root = ElementTree.parse(haar.HAAR_FILE).getroot().find("cascade")
    if root is None or root.findtext("width") != root.findtext("height"):
        raise ModelError(f"{haar.HAAR_FILE} holds no square cascade: install opencv-python-headless >=4.14,<5")
    rectangles = [[_numbers(part.text) for part in feature.iterfind("rects/_")] for feature in root.iterfind("features/_")]
    stages, stumps = [], []
    for stage in root.iterfind("stages/_"):
        for stump in stage.iterfind("weakClassifiers/_"):
            _, _, feature, threshold = _numbers(stump.findtext("internalNodes"))
            left, right = _numbers(stump.findtext("leafValues"))
            values = {"threshold": threshold, "left": left, "right": right, "rectangles": rectangles[int(feature)]}
            stumps.append(values)
        stages.append({"threshold": float(stage.findtext("stageThreshold", "nan")), "end": len(stumps)})
    cascade = {"side": int(root.findtext("width", "0")), "stages": stages, "stumps": stumps}
    return json.dumps(cascade, separators=(",", ":")).encode()


def free_sides(yunet: bytes) -> bytes:
    """Return YuNet with an input of any size.

    The published file says 640x640, which OpenCV disregards and onnxruntime does not.

    Raises `ModelError` where the file says something else.
    """
    if yunet.count(_FIXED_SIDES) != 1:
        raise ModelError("this YuNet has another input than 1x3x640x640: fetch the published one with `fer models fetch yunet`")
    return yunet.replace(_FIXED_SIDES, _FREE_SIDES)


@lru_cache(maxsize=1)
def runtime_facts() -> dict[str, Any]:
    """`name` and `version` of the runtime; `bytes` and `sha256` of its WebAssembly."""
    manifest: dict[str, Any] = json.loads((RUNTIME / MANIFEST).read_text(encoding="utf-8"))
    return {"name": manifest["package"], "version": manifest["version"], **manifest["files"][WASM]}


def runtime_file(*, packed: bool) -> tuple[bytes, str]:
    """Return the WebAssembly as it travels, and its SHA-256 in hex.

    Packed with gzip, which all browsers unpack, or as it is. The first call takes two seconds, further ones nothing.
    """
    with _unpacking:  # else each of many callers at the start would do the same work
        return _runtime_file(packed)


@lru_cache(maxsize=2)
def _runtime_file(packed: bool) -> tuple[bytes, str]:
    content = runtime_wasm()
    if packed:
        content = gzip.compress(content, compresslevel=9, mtime=0)
    return content, hashlib.sha256(content).hexdigest()


def runtime_wasm() -> bytes:
    """The WebAssembly. Raises `ModelError` where it is not what the manifest says."""
    wasm = lzma.decompress((RUNTIME / f"{WASM}.xz").read_bytes())
    found, expected = hashlib.sha256(wasm).hexdigest(), runtime_facts()["sha256"]
    if found != expected:
        raise ModelError(f"{WASM} has SHA-256 {found}, {MANIFEST} says {expected}: renew it with `make vendor`")
    return wasm


def _file(model: PortableModel, name: str) -> bytes:
    content = next((content for found, content in model.files if found == name), None)
    if content is None:
        raise ModelError(f"the model has no {name}")
    return content


def _numbers(text: str | None) -> list[float]:
    return [float(number) for number in (text or "").split()]
