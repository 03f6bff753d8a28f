"""Values that are logged of predictions. No image, no position in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from fer_pipeline.labels import EMOTIONS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LoggedFace:
    """One prediction.

    `time` is timezone-aware, `model` the name of the network, `version` the fingerprint of the model.

    `probabilities` (7) in the order of `labels.EMOTIONS`; `size` is the side of the face in pixels, `sharpness` the variance of
    its Laplacian, `brightness` and `contrast` mean and standard deviation of its gray values 0..255, all three at 48x48.
    """

    time: datetime
    model: str
    version: str
    probabilities: tuple[float, ...]
    top_emotion: str
    uncertain: bool
    size: float
    sharpness: float
    brightness: float
    contrast: float


@dataclass(frozen=True)
class Observations:
    """N predictions as arrays.

    `probabilities` is float64 (N, 7), the others float64 (N,) with the units of `LoggedFace`.
    """

    probabilities: Floats
    sharpness: Floats
    brightness: Floats
    contrast: Floats

    def __post_init__(self) -> None:
        rows = len(self.probabilities)
        shapes = [self.sharpness.shape, self.brightness.shape, self.contrast.shape]
        if self.probabilities.shape != (rows, len(EMOTIONS)) or shapes != [(rows,)] * 3:
            raise ValueError(f"shapes are {self.probabilities.shape} and {shapes}, expected (N, {len(EMOTIONS)}) and thrice (N,)")

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def confidence(self) -> Floats:
        """Return the largest probability of each prediction (N,)."""
        return np.asarray(self.probabilities.max(axis=1, initial=0.0))

    @property
    def emotion_counts(self) -> npt.NDArray[np.int64]:
        """Return how often each emotion was the most probable (7,)."""
        return np.bincount(self.probabilities.argmax(axis=1), minlength=len(EMOTIONS)).astype(np.int64)

    def take(self, rows: npt.NDArray[np.int64]) -> Observations:
        """Return the predictions at the given indices, in their order."""
        return Observations(self.probabilities[rows], self.sharpness[rows], self.brightness[rows], self.contrast[rows])


@dataclass(frozen=True)
class Pairs:
    """Predictions of two models for N faces.

    `champion` and `challenger` are calibrated probabilities float64 (N, 7); the milliseconds float64 (N,) are those of the
    network only.
    """

    champion: Floats
    challenger: Floats
    champion_milliseconds: Floats
    challenger_milliseconds: Floats

    def __post_init__(self) -> None:
        rows = len(self.champion)
        shapes = [one.shape for one in (self.champion, self.challenger)]
        times = [one.shape for one in (self.champion_milliseconds, self.challenger_milliseconds)]
        if shapes != [(rows, len(EMOTIONS))] * 2 or times != [(rows,)] * 2:
            raise ValueError(f"shapes are {shapes} and {times}, expected twice (N, {len(EMOTIONS)}) and twice (N,)")

    def __len__(self) -> int:
        return len(self.champion)
