from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from fer_pipeline.metrics.classification import Interval
from fer_pipeline.reports.components import (
    Table,
    bold,
    bounds,
    change,
    code,
    count,
    fixed,
    image_cell,
    image_uri,
    interval,
    percent,
    stacked,
    toned,
)


def test_number_formats() -> None:
    assert percent(0.66449) == "66.4 %"
    assert percent(0.66449, 0) == "66 %"
    assert count(28709) == "28,709"
    assert fixed(0.02149) == "0.021"
    assert fixed(1.5, 0) == "2"
    assert bounds(Interval(0.5, 0.4, 0.65)) == "40.0 to 65.0"
    assert interval(Interval(0.5, 0.4, 0.65)) == '50.0 % <span class="dim">(40.0 to 65.0)</span>'


@pytest.mark.parametrize(
    ("low", "high", "better", "tone"),
    [(0.01, 0.03, 1, "good"), (-0.03, -0.01, 1, "bad"), (-0.03, -0.01, -1, "good"), (0.01, 0.03, -1, "bad")],
)
def test_a_change_has_the_tone_of_its_whole_interval(low: float, high: float, better: int, tone: str) -> None:
    assert change(Interval(0.02, low, high), better=better).startswith(f'<span class="{tone}">+2.0</span> ')  # type: ignore[arg-type]


def test_a_change_whose_interval_holds_zero_is_undecided() -> None:
    undecided = Interval(0.02, -0.01, 0.05)
    assert change(undecided) == '+2.0 <span class="dim">[-1.0, +5.0]</span>'
    assert change(undecided, 3, scale=1, undecided="warn").startswith('<span class="warn">+0.020</span>')


def test_texts_are_escaped_and_markup_is_not() -> None:
    assert toned("<b>", "bad") == '<span class="bad">&lt;b&gt;</span>'
    assert code("a & b") == "<code>a &amp; b</code>"
    assert stacked(("<i>", bold("x"))) == "&lt;i&gt;<br><b>x</b>"


def test_default_alignment_of_columns() -> None:
    """Figures are on the right, and pairs without headers on the left."""
    assert Table(("emotion", "rows", "F1"), ()).alignment == "lrr"
    assert Table(("", ""), ()).alignment == "ll"
    assert Table(("check", "broken by", "why"), (), align="lrl").alignment == "lrl"
    assert not Table(("", ""), ()).titled


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_an_image_is_a_lossless_data_uri(shape: tuple[int, ...]) -> None:
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    head, _, data = image_uri(image).partition(",")
    stored = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert head == "data:image/png;base64"
    assert np.array_equal(stored if stored.ndim == 2 else stored[..., ::-1], np.squeeze(image))


def test_an_image_cell_has_a_size_and_an_escaped_description() -> None:
    cell = image_cell(np.zeros((2, 2), np.uint8), 'a "face"', side=72)
    assert 'alt="a &#34;face&#34;" width="72" height="72"' in cell
