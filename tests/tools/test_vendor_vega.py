"""The page of `dvc plots show` asks for nothing from outside."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from dvc_render import VegaRenderer, render_html

from tools.vendor_vega import PACKAGES, PAGE


def test_plots_are_drawn_without_a_network(tmp_path: Path) -> None:
    """DVC's own page loads each of the scripts that this one holds."""
    config = configparser.ConfigParser()
    config.read(PAGE.parent / "config")
    points = [{"epoch": epoch, "loss": 1 / epoch, "rev": "workspace"} for epoch in (1, 2)]
    loads = re.compile(r"""<script src=["']https?://[^"']*/([a-z-]+@[0-9.]+)["']""")
    found = {}
    for name, template in (("own", PAGE.parent / config["plots"]["html_template"]), ("dvc", None)):
        renderer = VegaRenderer(points, "Loss", x="epoch", y="loss", template="linear")
        page = Path(render_html([renderer], tmp_path / name / "index.html", html_template=template)).read_text()
        assert "vegaEmbed('#" in page
        found[name] = loads.findall(page)
    assert found == {"own": [], "dvc": [f"{package.name}@{package.version}" for package in PACKAGES]}
