"""Faithfulness of saliency maps by deletion and insertion of pixels.

Deletion and insertion after Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models" (2018).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from fer_pipeline.analysis.progress import progress_bar
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.metrics.intervals import mean_interval
from fer_pipeline.model_info import Predict

Maps = npt.NDArray[np.float64]
"""One map per class, float64 (7, 48, 48): positive for pixels that support the class, negative for those against it."""

Explain = Callable[[UInt8Array], Maps]
"""Computes the maps of one model input uint8 (48, 48, 1)."""

STEPS: Final = 36
"""Steps from the whole face to none; each takes 64 pixels."""

BLUR: Final = 6.0
"""Standard deviation, in pixels, of the blur that replaces deleted pixels."""

BASELINES: Final = ("random", "centre")
"""Maps that a method must be better than: smooth random ones, and one that ranks pixels by distance from the centre."""


@dataclass(frozen=True)
class Faithfulness:
    """Faithfulness of one method over all images.

    `deletion` and `insertion` (STEPS + 1,) are mean probabilities of the explained class.

    `score` is the mean of insertion minus deletion AUC, `over_random` and `over_centre` its paired difference to
    the baselines on the same images, None for a baseline's own row. `seconds` is the mean time per image.
    """

    method: str
    deletion: npt.NDArray[np.float64]
    insertion: npt.NDArray[np.float64]
    score: Interval
    over_random: Interval | None
    over_centre: Interval | None
    seconds: float

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve, 0..1; lower is better."""
        return float(_areas(self.deletion))

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve, 0..1; higher is better."""
        return float(_areas(self.insertion))

    @property
    def trusted(self) -> bool:
        """Whether both 95 % intervals are above the baselines."""
        return all(interval is not None and interval.low > 0 for interval in (self.over_random, self.over_centre))


def measure_faithfulness(
    faces: FaceDataset,
    predict: Predict,
    methods: Mapping[str, Explain],
    *,
    sample_size: int,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Faithfulness, ...]:
    """Measure each method, then each baseline, on a sample of the faces.

    The sample is drawn by the seed, evenly over the labels. The explained class is the model's answer.
    """
    chosen = sample_evenly(faces.labels, sample_size, seed)
    images = faces.images[chosen]
    answers = predict(images).argmax(axis=1)
    rng = np.random.default_rng(seed)
    everything: dict[str, Explain] = {**methods, "random": lambda _: _random(rng), "centre": lambda _: _centre()}
    curves: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in everything}
    seconds = dict.fromkeys(everything, 0.0)
    for image, answer in progress_bar(list(zip(images, answers, strict=True)), "explanations"):
        for name, explain in everything.items():
            start = time.perf_counter()
            heat = explain(image)[answer]
            seconds[name] += time.perf_counter() - start
            curves[name].append(deletion_insertion_curves(image, heat, predict, int(answer)))
    stacked = {name: np.stack(found) for name, found in curves.items()}  # (images, 2, STEPS + 1)
    scores = {name: _areas(found[:, 1]) - _areas(found[:, 0]) for name, found in stacked.items()}

    def against(name: str, baseline: str) -> Interval | None:
        if name in BASELINES:
            return None
        return mean_interval(scores[name] - scores[baseline], resamples=resamples, seed=seed)

    return tuple(
        Faithfulness(
            method=name,
            deletion=found[:, 0].mean(axis=0),
            insertion=found[:, 1].mean(axis=0),
            score=mean_interval(scores[name], resamples=resamples, seed=seed),
            over_random=against(name, "random"),
            over_centre=against(name, "centre"),
            seconds=seconds[name] / len(images),
        )
        for name, found in stacked.items()
    )


def deletion_insertion_curves(
    image: UInt8Array, heat: npt.NDArray[np.float64], predict: Predict, class_id: int
) -> npt.NDArray[np.float64]:
    """Compute deletion and insertion curve float64 (2, STEPS + 1) of a class.

    `image` is one model input uint8 (48, 48, 1), `heat` (48, 48) the map that ranks its pixels.
    """
    blurred = cv2.GaussianBlur(image[:, :, 0], (0, 0), BLUR, borderType=cv2.BORDER_REPLICATE)[:, :, np.newaxis]
    order = np.argsort(-heat, axis=None, kind="stable")
    rank = np.empty(order.size, int)
    rank[order] = np.arange(order.size)
    selected = rank.reshape(FACE_SIZE, FACE_SIZE, 1) < (np.arange(STEPS + 1) * order.size // STEPS)[:, None, None, None]
    steps = np.concatenate([np.where(selected, blurred, image), np.where(selected, image, blurred)]).astype(np.uint8)
    return predict(steps)[:, class_id].reshape(2, STEPS + 1)


def sample_evenly(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw positions (count,), sorted, evenly over the labels.

    A label with too few rows gives all of them. Equal seeds give equal rows.
    """
    mixed = np.random.default_rng(seed).permutation(len(labels))
    turn = np.zeros(len(labels), int)
    for label in np.unique(labels):
        rows = mixed[labels[mixed] == label]
        turn[rows] = np.arange(len(rows))
    chosen: npt.NDArray[np.int64] = np.sort(mixed[np.argsort(turn[mixed], kind="stable")][:count])
    return chosen


def _random(rng: np.random.Generator) -> Maps:
    coarse = rng.normal(size=(7, 6, 6))
    return np.repeat(np.repeat(coarse, FACE_SIZE // 6, axis=1), FACE_SIZE // 6, axis=2)


def _centre() -> Maps:
    y, x = np.indices((FACE_SIZE, FACE_SIZE)) - (FACE_SIZE - 1) / 2
    return np.repeat(-np.hypot(x, y)[np.newaxis], 7, axis=0)


def _areas(curves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Areas (...) under curves (..., STEPS + 1) over 0..1."""
    return np.asarray(np.trapezoid(curves, dx=1 / STEPS, axis=-1), np.float64)
