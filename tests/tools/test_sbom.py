"""`make sbom`: the list of components has what an installation with extras and the page consist of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tools import vendor_onnxruntime
from tools.sbom import add_vendored

ROOT = Path(__file__).parents[2]


def test_the_list_has_all_extras_and_the_javascript(tmp_path: Path) -> None:
    """The extras of the image and the vendored JavaScript of the page are listed."""
    recipe = re.search(r"\$\(UV\) (export .*) --output-file sbom\.cdx\.json\n", (ROOT / "Makefile").read_text())
    assert recipe is not None
    bom = tmp_path / "sbom.cdx.json"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, *recipe[1].split(), "--offline", "--output-file", str(bom)], cwd=ROOT, check=True, timeout=60)
    add_vendored(bom)
    document = json.loads(bom.read_text())
    components = {component["name"]: component for component in document["components"]}
    assert {"prefect", "boto3", "dvc-s3", "psycopg"} <= components.keys()
    runtime = components[vendor_onnxruntime.PACKAGE]
    assert (runtime["version"], runtime["licenses"]) == (vendor_onnxruntime.VERSION, [{"license": {"id": "MIT"}}])
    assert components["CenterFace"]["type"] == "machine-learning-model"
    assert "WIDER FACE" in components["CenterFace"]["description"]
    references = [component["bom-ref"] for component in document["components"]]
    assert len(references) == len(set(references))
    (needs,) = (entry for entry in document["dependencies"] if entry["ref"] == document["metadata"]["component"]["bom-ref"])
    assert runtime["bom-ref"] in needs["dependsOn"]
