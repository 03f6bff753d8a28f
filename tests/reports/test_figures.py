from __future__ import annotations

import base64

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from fer_pipeline.reports.figures import draw_matrix, figure_uri, themed


@themed
def one_line() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [0, 1])
    return figure


def test_the_style_holds_inside_the_drawing_function_alone() -> None:
    before = dict(mpl.rcParams)
    axes = one_line().axes[0]
    assert not axes.spines["top"].get_visible()
    assert dict(mpl.rcParams) == before


def test_equal_figures_give_equal_svg() -> None:
    head, _, data = figure_uri(one_line()).partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(data).startswith(b"<?xml")
    assert figure_uri(one_line()) == figure_uri(one_line())


def test_texts_of_a_matrix_contrast_with_their_cells() -> None:
    """Texts are dark on light cells, and light on dark ones."""
    axes = Figure().subplots()
    draw_matrix(
        axes, np.array([[1.0, 0.0], [0.5, 0.6]]), [["a", "b"], ["c", "d"]], ("x", "y"), title="shares", xlabel="predicted"
    )
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [
        ("a", "white"),
        ("b", "black"),
        ("c", "black"),
        ("d", "white"),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]
    assert (axes.get_title(), axes.get_xlabel()) == ("shares", "predicted")
