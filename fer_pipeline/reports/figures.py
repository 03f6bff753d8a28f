"""Style, colours and encoding of matplotlib figures for report pages."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE: Final = "#1d4e89"
ORANGE: Final = "#e36414"
GREEN: Final = "#2a9d8f"
RED: Final = "#c1121f"
SLATE: Final = "#6c757d"
GRAY: Final = "#999999"

_Drawing = TypeVar("_Drawing", bound=Callable[..., Any])


def themed(draw: _Drawing) -> _Drawing:
    """Give the figures that a function draws the style of all report pages."""
    styled: _Drawing = mpl.rc_context(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.labelsize": 10,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 11,
            "figure.constrained_layout.h_pad": 0.1,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "grid.alpha": 0.25,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
        }
    )(draw)
    return styled


def figure_uri(figure: Figure) -> str:
    """Encode a figure as an SVG data URI; equal figures give equal texts."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "fer"}):  # without it ids are random, and DVC would see a change
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=False, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def draw_matrix(
    axes: Axes, shares: npt.NDArray[np.float64], texts: Sequence[Sequence[str]], names: Sequence[str], **labels: str
) -> None:
    """Draw shares (N, N) in 0..1 as a blue matrix with a text in each cell.

    `names` (N,) label rows and columns; `labels` are `title`, `xlabel` and `ylabel`.
    """
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            color = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(**labels)
