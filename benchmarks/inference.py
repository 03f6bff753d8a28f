"""Latency of the shipped model `fast`, and of a whole picture, on one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.table import Table

from fer_pipeline.data.synthetic.generator import draw_faces
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.pretrained import DEFAULT_MODEL, pretrained_folder
from fer_pipeline.inference.recognizer import Recognizer

MODEL = pretrained_folder(DEFAULT_MODEL)
"""What all benchmarks of inference measure, so that their figures are of one network wherever they run."""


def tables() -> Iterator[Table]:
    """Median milliseconds."""
    table = Table("what", "ms", title="inference, one thread")
    for name, value in measure(MODEL).items():
        table.add_row(name, f"{value:.2f}")
    yield table


def milliseconds(work: Callable[[], object], repeats: int = 50) -> float:
    """Median time of one call, after three that do not count."""
    times = []
    for turn in range(repeats + 3):
        started = time.perf_counter()
        work()
        if turn >= 3:
            times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def measure(model: Path) -> dict[str, float]:
    """Return median milliseconds of one face, of 64, and of one picture.

    The picture has 640x480 pixels and one face; its detector is included.
    """
    classifier = EmotionClassifier.load(model)
    faces = draw_faces(64, 0)[0][..., np.newaxis]
    recognizer = Recognizer.load(model)
    picture = scene(faces[0, :, :, 0])
    return {
        "classify 1 face": milliseconds(lambda: classifier.probabilities(faces[:1])),
        "classify 64 faces": milliseconds(lambda: classifier.probabilities(faces)),
        f"640x480 picture, {recognizer.detector.name}": milliseconds(lambda: recognizer.recognize(picture), 20),
    }


def scene(face: UInt8Array) -> UInt8Array:
    """Return RGB (480, 640, 3) with an enlarged face on a gray ground.

    The face is five times as large as it was given.
    """
    wall = np.full((480, 640), 128, np.uint8)
    wall[120:360, 200:440] = np.kron(face, np.ones((5, 5), np.uint8))
    return np.repeat(wall[:, :, np.newaxis], 3, axis=2)
