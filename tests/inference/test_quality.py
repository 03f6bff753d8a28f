from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.inference.quality import FaceQuality, measure, share_outside


@pytest.mark.parametrize(
    ("quality", "reasons"),
    [
        (FaceQuality(size=100, sharpness=2000, brightness=128, outside=0, contrast=50), ()),
        (FaceQuality(size=20, sharpness=2000, brightness=128, outside=0, contrast=50), ("small",)),
        (FaceQuality(size=100, sharpness=100, brightness=128, outside=0, contrast=50), ("blurry",)),
        (FaceQuality(size=100, sharpness=2000, brightness=30, outside=0, contrast=50), ("dark",)),
        (FaceQuality(size=100, sharpness=2000, brightness=220, outside=0, contrast=50), ("bright",)),
        (FaceQuality(size=20, sharpness=2000, brightness=128, outside=0.3, contrast=50), ("small", "cut_off")),
    ],
)
def test_the_reasons_name_the_bounds_that_are_broken(quality: FaceQuality, reasons: tuple[str, ...]) -> None:
    assert quality.reasons == reasons


def test_quality_is_measured_on_the_crop() -> None:
    quality = measure(np.full((30, 60, 3), 90, np.uint8), outside=0.1)
    assert quality == FaceQuality(size=30, sharpness=0, brightness=90, outside=0.1, contrast=0)
    checks = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (24, 24))
    assert measure(checks).sharpness > 100_000


@pytest.mark.parametrize(
    ("box", "share"), [((0, 0, 10, 10), 0.0), ((-5, 0, 5, 10), 0.5), ((5, 5, 15, 15), 0.75), ((20, 20, 30, 30), 1)]
)
def test_the_share_outside_is_of_the_area(box: tuple[float, float, float, float], share: float) -> None:
    assert share_outside(box, np.zeros((10, 10), np.uint8)) == pytest.approx(share)
