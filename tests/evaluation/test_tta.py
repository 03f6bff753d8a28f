"""Views for test-time augmentation."""

from __future__ import annotations

import numpy as np

from fer_pipeline.evaluation.tta import TTA_VIEWS, tta_views


def test_ten_views_are_five_shifts_each_also_mirrored() -> None:
    """The ten views are five places each also mirrored and start with the picture."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    seen = list(tta_views(pictures))
    assert len(seen) == TTA_VIEWS == 10
    np.testing.assert_array_equal(seen[0], pictures)
    np.testing.assert_array_equal(seen[1], pictures[:, :, ::-1])
    np.testing.assert_array_equal(seen[2][:, 2:, 2:], pictures[:, :-2, :-2])
    np.testing.assert_array_equal(seen[2][:, :2, :2], np.broadcast_to(pictures[:, :1, :1], (2, 2, 2, 1)))
    assert all(view.shape == pictures.shape and view.dtype == np.uint8 for view in seen)
