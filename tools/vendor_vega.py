"""Update the page that `dvc plots show` fills: `make vendor`.

DVC's own page loads Vega from a server. The page of this repository, which .dvc/config names, holds it, so that plots are drawn
without a network. The versions are those that DVC asks for.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Final

from dvc_render.vega import VegaRenderer

from fer_pipeline.errors import ModelError
from fer_pipeline.workspace.files import write_text
from tools.npm import NpmPackage

PAGE: Final = Path(__file__).parents[1] / ".dvc" / "plots_page.html"

PACKAGES: Final = (
    NpmPackage(
        "vega", "5.20.2", "sha512-qmH7aD9GGPpssVdxL1xgcdxTbQzyRUeRR16Os385ymvQhiwCYQNA6+eXUPAZDTVLfk0RXu6Jzj6kUE5jQ80EVw=="
    ),
    NpmPackage(
        "vega-lite", "5.2.0", "sha512-Yxcg8MvYfxHcG6BbkaKT0oVCIMIcE19UvqIsEwBmyd/7h2nzW7oRnID81T8UrY7hpDrIr6wa2JADOT2dhGNErw=="
    ),
    NpmPackage(
        "vega-embed", "6.18.2", "sha512-wcDyQPE4J5aiCDc3/suH5RQDvrKkjuLkhzUcbOLwEkNF8/+pp17tS0JghzEvAPNRg+5aG1/N2ydixq8Lk3dOlg=="
    ),
)

_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Plots of fer-pipeline</title>
<style>body { font-family: sans-serif } table { border-spacing: 15px }</style>
"""
_BODY: Final = """</head>
<body>
{plot_divs}
</body>
</html>
"""

logger = logging.getLogger(__name__)


def renew(page: Path = PAGE) -> None:
    """Replace the page.

    Raises `ToolUnavailableError` where npm does not answer, `ModelError` where DVC asks for other versions, or another package
    comes than the pinned one.
    """
    parts = [_HEAD]
    for package in PACKAGES:
        if f"/{package.name}@{package.version}" not in VegaRenderer.SCRIPTS:
            raise ModelError(f"DVC no longer asks for {package.name} {package.version} but for{VegaRenderer.SCRIPTS}: pin that")
        with tempfile.TemporaryDirectory(prefix="fer-vendor-") as scratch:
            fetched = package.fetch(Path(scratch))
            licence, script = (fetched.read(path).decode() for path in ("LICENSE", f"build/{package.name}.min.js"))
        if "</script" in script:
            raise ModelError(f"{package.name} {package.version} holds a closing script tag: it cannot be put into a page")
        notice = f"{package.name} {package.version}\n\n{licence.strip()}".replace("--", "- -")
        parts.append(f"<!--\n{notice}\n-->\n<script>{script.strip()}</script>\n")
    write_text(page, "".join([*parts, _BODY]))
    logger.info("%s holds %s", page, ", ".join(f"{package.name} {package.version}" for package in PACKAGES))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    renew()
