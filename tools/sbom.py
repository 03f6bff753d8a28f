"""Add what is vendored to the CycloneDX list that uv writes: `make sbom`."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from fer_pipeline.inference.detection.centerface import NETWORK, VENDORED
from fer_pipeline.serving.routes.browser_files import MANIFEST, RUNTIME
from fer_pipeline.workspace.files import write_json


def add_vendored(bom: Path, vendor: Path = RUNTIME.parent, detector: Path = VENDORED) -> None:
    """Add the packages of `vendor` and the network of `detector` to a CycloneDX file.

    The hash is the one of the package as npm publishes it, not of the files that were taken out of it.
    """
    document: dict[str, Any] = json.loads(bom.read_text(encoding="utf-8"))
    project = document["metadata"]["component"]["bom-ref"]
    (needs,) = (entry for entry in document["dependencies"] if entry["ref"] == project)
    manifests = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(vendor.glob(f"*/{MANIFEST}"))]
    components = [_component(manifest) for manifest in manifests] + [_network(json.loads((detector / MANIFEST).read_text()))]
    for component in components:
        document["components"].append(component)
        document["dependencies"].append({"ref": component["bom-ref"]})
        needs.setdefault("dependsOn", []).append(component["bom-ref"])
    write_json(bom, document)


def _component(manifest: dict[str, Any]) -> dict[str, Any]:
    url = f"pkg:npm/{manifest['package']}@{manifest['version']}"
    algorithm, _, digest = manifest["integrity"].partition("-")
    return {
        "type": "library",
        "bom-ref": url,
        "name": manifest["package"],
        "version": manifest["version"],
        "purl": url,
        "licenses": [{"license": {"id": manifest["licence"]}}],
        "hashes": [{"alg": algorithm.upper().replace("SHA", "SHA-"), "content": base64.b64decode(digest).hex()}],
    }


def _network(manifest: dict[str, Any]) -> dict[str, Any]:
    url = f"pkg:pypi/{manifest['package']}@{manifest['version']}#{NETWORK}"
    return {
        "type": "machine-learning-model",
        "bom-ref": url,
        "name": "CenterFace",
        "version": manifest["version"],
        "description": f"taken from the Python package {manifest['package']}; trained on {manifest['training_data']}",
        "licenses": [{"license": {"id": manifest["licence"]}}],
        "hashes": [{"alg": "SHA-256", "content": manifest["files"][NETWORK]["sha256"]}],
    }


if __name__ == "__main__":
    add_vendored(Path(sys.argv[1]))
