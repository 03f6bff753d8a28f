from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.analysis.explain.lime import CELL, lime_maps
from tests.analysis.explain.samples import by_mouth, noisy_faces


def test_lime_is_equal_for_equal_seeds_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    face = noisy_faces(1).images[0]
    first, second = (lime_maps(face, by_mouth, samples=100, seed=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    cells = first.reshape(7, 48 // CELL, CELL, 48 // CELL, CELL)
    assert (cells == cells[:, :, :1, :, :1]).all()  # one weight per cell
    assert capfd.readouterr() == ("", "")
