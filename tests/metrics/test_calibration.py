"""Temperature scaling."""

from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.metrics import classification
from fer_pipeline.metrics.calibration import fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20_000, 7))
    chances = classification.softmax(logits)
    labels = (chances.cumsum(axis=1) > rng.uniform(size=(20_000, 1))).argmax(axis=1)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)
