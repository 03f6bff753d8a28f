"""Whether an explanation is true to the model: how the answer changes when the pixels it names are taken away or given first.

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

from fer_pipeline.analysis.progress import counted
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.model_info import Predict

Maps = npt.NDArray[np.float64]
"""One map per class, float64 (7, 48, 48); where it is positive, the pixels there speak for the class, else against it."""

Explain = Callable[[UInt8Array], Maps]
"""From one model input uint8 (48, 48, 1) to its maps."""

STEPS: Final = 36
"""Steps from the whole face to none; each takes 64 pixels."""

BLUR: Final = 6.0
"""Standard deviation, in pixels, of the blur that stands for a pixel taken away."""

BASELINES: Final = ("random", "centre")
"""What a method must beat: smooth random maps, and one that always names the middle of the face."""


@dataclass(frozen=True)
class Faithfulness:
    """One method over all pictures. Curves (STEPS + 1,) are mean probabilities of the explained class.

    `score` is the mean of insertion minus deletion AUC, `over_random` and `over_centre` how far it lies above that of the
    baselines on the same pictures, None for a baseline's own row. `seconds` is the mean time per picture.
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
        """Area under the deletion curve, 0..1; a true map has a small one."""
        return _area(self.deletion)

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve, 0..1; a true map has a large one."""
        return _area(self.insertion)

    @property
    def trusted(self) -> bool:
        """Whether the 95 % intervals say that the method is better than both baselines."""
        return all(interval is not None and interval.low > 0 for interval in (self.over_random, self.over_centre))


def measure(
    faces: FaceDataset, predict: Predict, methods: Mapping[str, Explain], *, pictures: int, resamples: int = 1000, seed: int = 0
) -> tuple[Faithfulness, ...]:
    """One row per method, then one per baseline, over so many faces drawn by the seed, as many of each label as there are.

    The class that is explained is the model's own answer.
    """
    chosen = spread(faces.labels, pictures, seed)
    images = faces.images[chosen]
    answers = predict(images).argmax(axis=1)
    rng = np.random.default_rng(seed)
    everything: dict[str, Explain] = {**methods, "random": lambda _: _random(rng), "centre": lambda _: _centre()}
    curves: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in everything}
    seconds = dict.fromkeys(everything, 0.0)
    for image, answer in counted(list(zip(images, answers, strict=True)), "explanations"):
        for name, explain in everything.items():
            start = time.perf_counter()
            heat = explain(image)[answer]
            seconds[name] += time.perf_counter() - start
            curves[name].append(curves_of(image, heat, predict, int(answer)))
    stacked = {name: np.stack(found) for name, found in curves.items()}  # (pictures, 2, STEPS + 1)
    scores = {name: _areas(found[:, 1]) - _areas(found[:, 0]) for name, found in stacked.items()}
    draws = np.random.default_rng(seed).integers(len(images), size=(resamples, len(images)))
    return tuple(
        Faithfulness(
            method=name,
            deletion=found[:, 0].mean(axis=0),
            insertion=found[:, 1].mean(axis=0),
            score=_interval(scores[name], draws),
            over_random=None if name in BASELINES else _interval(scores[name] - scores["random"], draws),
            over_centre=None if name in BASELINES else _interval(scores[name] - scores["centre"], draws),
            seconds=seconds[name] / len(images),
        )
        for name, found in stacked.items()
    )


def curves_of(image: UInt8Array, heat: npt.NDArray[np.float64], predict: Predict, class_id: int) -> npt.NDArray[np.float64]:
    """Deletion and insertion curve (2, STEPS + 1) of one model input uint8 (48, 48, 1): probabilities of the class."""
    gone = cv2.GaussianBlur(image[:, :, 0], (0, 0), BLUR, borderType=cv2.BORDER_REPLICATE)[:, :, np.newaxis]
    order = np.argsort(-heat, axis=None, kind="stable")
    place = np.empty(order.size, int)
    place[order] = np.arange(order.size)
    taken = place.reshape(FACE_SIZE, FACE_SIZE, 1) < (np.arange(STEPS + 1) * order.size // STEPS)[:, None, None, None]
    steps = np.concatenate([np.where(taken, gone, image), np.where(taken, image, gone)]).astype(np.uint8)
    return predict(steps)[:, class_id].reshape(2, STEPS + 1)


def spread(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Rows (count,), sorted: drawn by the seed, one of each label in turn as long as there are some."""
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
    areas: npt.NDArray[np.float64] = (curves[..., 1:] + curves[..., :-1]).mean(axis=-1) / 2
    return areas


def _area(curve: npt.NDArray[np.float64]) -> float:
    return float(_areas(curve))


def _interval(values: npt.NDArray[np.float64], draws: npt.NDArray[np.int64]) -> Interval:
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))
