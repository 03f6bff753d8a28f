"""Update the vendored JavaScript: `make vendor`.

The version is pinned here, with the hash that the npm registry gives it.

Needs npm and its registry. To take another version, change `VERSION` and `INTEGRITY` (`npm view onnxruntime-web@VERSION
dist.integrity`), run it, and run the tests of tests/serving/test_device_page.py.
"""

from __future__ import annotations

import hashlib
import logging
import lzma
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from fer_pipeline.serving.routes.browser_files import MANIFEST, RUNTIME, WASM
from fer_pipeline.workspace.files import replaced_folder, write_json
from tools.npm import NpmPackage

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package as npm publishes it."""

SCRIPT = "ort.wasm.bundle.min.mjs"
"""The part of the package that starts its WebAssembly without loading a further script."""

logger = logging.getLogger(__name__)


def renew(folder: Path = RUNTIME) -> None:
    """Replace the folder of the vendored JavaScript.

    It holds script and WebAssembly of onnxruntime-web, the licences, and a manifest with their hashes.

    The WebAssembly is stored with xz, a sixth of its size. Raises `ToolUnavailableError` where npm or the registry does not
    answer, `ModelError` where another package comes than the pinned one; the folder then stays as it was.
    """
    with tempfile.TemporaryDirectory(prefix="fer-vendor-") as scratch:
        package = NpmPackage(PACKAGE, VERSION, INTEGRITY).fetch(Path(scratch))
        with replaced_folder(folder) as target:
            script, wasm = (package.read(f"dist/{name}") for name in (SCRIPT, WASM))
            (target / SCRIPT).write_bytes(script)
            (target / f"{WASM}.xz").write_bytes(lzma.compress(wasm, preset=9 | lzma.PRESET_EXTREME))
            _copy_licences(target)
            files = {name: _facts(content) for name, content in ((SCRIPT, script), (WASM, wasm))}
            manifest = {"package": PACKAGE, "version": VERSION, "licence": "MIT", "integrity": INTEGRITY, "files": files}
            write_json(target / MANIFEST, manifest)
    logger.info("%s %s is in %s", PACKAGE, VERSION, folder)


def _copy_licences(target: Path) -> None:
    # The npm package has none of the texts; the Python package, built from the same sources, has them.
    files = {file.name: Path(str(file.locate())) for file in distribution("onnxruntime").files or ()}
    (target / "LICENSE.txt").write_bytes(files["LICENSE"].read_bytes())
    notices = files["ThirdPartyNotices.txt"].read_bytes()
    (target / "ThirdPartyNotices.txt.xz").write_bytes(lzma.compress(notices, preset=9 | lzma.PRESET_EXTREME))


def _facts(content: bytes) -> dict[str, str | int]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    renew()
