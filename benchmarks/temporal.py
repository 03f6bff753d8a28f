"""Measure temporal smoothing on sequences with known answers.

A sequence shows an emotion for 3 s in the mean and then another. What is seen is a test face of that emotion, a new one every
0.25 s in the mean, with noise on each frame's answer (normal, 0.5, on the logarithms). Needs data/processed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from benchmarks.inference import MODEL
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.smoothing import EmotionFilter, ProbabilitySmoother, TemporalModel

PROCESSED = Path("data/processed")
SEQUENCES, SECONDS, SEED = 20, 60, 7
RATES = {"film": 25, "live camera on a busy machine": 6}
"""Frames a second."""
DWELL, HOLD, NOISE = 3.0, 0.25, 0.5

Sequence = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


def tables() -> Iterator[Table]:
    """Return one row per temporal mode, for a film and a slow camera.

    Raises `SourceError` where data are missing.
    """
    test = ProcessedTable.open(PROCESSED).split("test")
    probabilities = EmotionClassifier.load(MODEL, threads=2).probabilities(test.images)
    models: dict[str, Callable[[], TemporalModel]] = {
        "none": lambda: ProbabilitySmoother(0.0), "smooth": ProbabilitySmoother, "hmm": EmotionFilter
    }  # fmt: skip
    for words, rate in RATES.items():
        made = sequences(probabilities, test.labels, rate)
        true = sum(int((np.diff(truth) != 0).sum()) for truth, _ in made) / (SECONDS * len(made))
        title = f"{words}, {rate} frames/s, true changes: {true:.2f} / s"
        table = Table("over time", "right frames", "label changes / s", "median delay, s", title=title)
        for name, model in models.items():
            found = measure(made, model, rate)
            table.add_row(name, f"{100 * found['accuracy']:.1f} %", f"{found['changes']:.2f}", f"{found['delay']:.2f}")
        yield table


def sequences(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], rate: int) -> list[Sequence]:
    """Yield true class ids (frames,) and answers (frames, 7) by sequence.

    Each sequence has `rate` frames a second.
    """
    rng = np.random.default_rng(SEED)
    rows_of = [np.flatnonzero(labels == emotion) for emotion in range(7)]
    made = []
    for _ in range(SEQUENCES):
        truth, seen = np.zeros(SECONDS * rate, np.int64), np.zeros((SECONDS * rate, 7))
        emotion = int(rng.integers(7))
        row = rng.choice(rows_of[emotion])
        for frame in range(len(truth)):
            changes = rng.random() < 1 / (DWELL * rate)
            if changes:
                emotion = int(rng.choice([other for other in range(7) if other != emotion]))
            if changes or rng.random() < 1 / (HOLD * rate):
                row = rng.choice(rows_of[emotion])
            noisy = np.exp(np.log(probabilities[row] + 1e-6) + rng.normal(0, NOISE, 7))
            truth[frame], seen[frame] = emotion, noisy / noisy.sum()
        made.append((truth, seen))
    return made


def measure(made: list[Sequence], model: Callable[[], TemporalModel], rate: int) -> dict[str, float]:
    """Return accuracy, label changes a second, and median delay in seconds.

    The delay is that of the changes that are seen.
    """
    right, changes, delays = [], 0, []
    for truth, seen in made:
        joined = model()
        labels = np.array([int(np.argmax(joined.add(row.tolist(), n / rate))) for n, row in enumerate(seen)])
        right.append((labels == truth).mean())
        changes += int((np.diff(labels) != 0).sum())
        for start, end in pairwise([*(np.flatnonzero(np.diff(truth)) + 1), len(truth)]):
            hits: Any = np.flatnonzero(labels[start:end] == truth[start])
            delays += [hits[0] / rate] if len(hits) else []
    seconds = SECONDS * len(made)
    return {"accuracy": float(np.mean(right)), "changes": changes / seconds, "delay": float(np.median(delays))}
