from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.errors import MonitoringError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring.agreement import agreement
from fer_pipeline.monitoring.observations import Floats, Pairs


def certain(*classes: int) -> Floats:
    return np.eye(len(EMOTIONS))[list(classes)]


def test_agreement_is_counted_per_class_with_its_interval() -> None:
    pairs = Pairs(certain(0, 0, 0, 3), certain(0, 6, 6, 3), np.array([1.0, 1, 1, 1]), np.array([2.0, 2, 4, 2]))
    found = agreement(pairs)
    assert (found.faces, found.agreed, found.share) == (4, 2, 0.5)
    assert (found.low, found.high) == pytest.approx((0.1500, 0.8500), abs=1e-4)  # Wilson's interval of 2 in 4
    assert found.classes[0].instead == {"neutral": 2}
    assert (found.classes[0].faces, found.classes[0].agreed, found.classes[1].faces) == (3, 1, 0)
    assert found.mean_difference == pytest.approx(2 * 2 / (4 * 7))  # two faces, two probabilities off by 1 each
    assert (found.milliseconds, found.latency_ratio) == ((1.0, 2.0), 2.0)


def test_a_model_agrees_with_itself() -> None:
    probabilities = np.full((50, 7), 1 / 7)
    found = agreement(Pairs(probabilities, probabilities, np.ones(50), np.ones(50)))
    assert (found.share, found.mean_difference, found.latency_ratio) == (1.0, 0.0, 1.0)


def test_no_face_is_no_agreement() -> None:
    with pytest.raises(MonitoringError, match="no face"):
        agreement(Pairs(certain(), certain(), np.ones(0), np.ones(0)))
    with pytest.raises(ValueError, match="shapes are"):
        Pairs(certain(0), certain(0, 1), np.ones(1), np.ones(1))
