"""Self-contained HTML pages: templates of this package, figures and pictures inside as data URIs, no request to anywhere."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.workspace.files import write_text


def write_page(target: Path, template: str, **values: Any) -> None:
    """Writes the page of a template in `fer_pipeline/reports/templates`, such as "evaluation.html"; all values are escaped."""
    environment = Environment(
        loader=PackageLoader("fer_pipeline.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["picture"] = picture_uri
    environment.filters["figure"] = figure_uri
    write_text(target, environment.get_template(template).render(**values))


def percent(share: float, digits: int = 1) -> str:
    """ "66.4 %" of 0.664."""
    return f"{100 * share:.{digits}f} %"


def figure_uri(figure: Figure) -> str:
    """Data URI of a matplotlib figure as SVG."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "fer"}):  # or equal figures would get other ids each time, and DVC see a change
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=False, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def picture_uri(image: UInt8Array) -> str:
    """Data URI of a gray (H, W), (H, W, 1) or RGB (H, W, 3) picture as PNG."""
    return "data:image/png;base64," + base64.b64encode(encode_png(np.squeeze(image))).decode()
