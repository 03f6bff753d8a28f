from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.page_examples import EXAMPLES, ORIGINS, main


def test_the_examples_are_small_and_made_from_packages(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("matplotlib")
    main(tmp_path)
    assert {path.name for path in EXAMPLES.iterdir()} == {*ORIGINS, "ORIGINS.txt"}
    page = (EXAMPLES.parent / "index.html").read_text(encoding="utf-8")
    for name in ORIGINS:
        assert (EXAMPLES / name).stat().st_size < 30_000
        assert f"web/examples/{name}" in page
        with Image.open(EXAMPLES / name) as stored, Image.open(tmp_path / name) as made:
            assert np.abs(np.asarray(stored).astype(int) - np.asarray(made)).mean() < 2
