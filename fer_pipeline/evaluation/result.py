"""The result of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.metrics.classification import Interval, Reliability
from fer_pipeline.metrics.curves import Curve


@dataclass(frozen=True)
class Subset:
    """Accuracy and macro-F1 on some of the test rows; None where there are no rows."""

    name: str
    rows: int
    accuracy: Interval | None
    macro_f1: Interval | None


@dataclass(frozen=True)
class Evaluation:
    """Results of an evaluation, as the report shows them.

    They are of the model as it is served: one pass over the image, calibrated `probabilities`.

    `calibration` is the content of calibration.json. In `recalls` (Wilson intervals) a class without test rows has None. Only
    the entries of `metrics` with _tta in their name are of answers with test-time augmentation.
    """

    test: FaceDataset
    probabilities: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]
    recalls: dict[str, Interval | None]
    subsets: tuple[Subset, ...]
    metrics: dict[str, float]
    calibration: dict[str, Any]
    reliability_before: Reliability
    reliability_after: Reliability
    roc: dict[str, Curve]
    precision_recall: dict[str, Curve]
    training: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
