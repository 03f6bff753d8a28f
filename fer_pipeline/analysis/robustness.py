"""How accuracy falls as pictures get worse: every corruption at five strengths on the test split, a mean figure, a page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer_pipeline.analysis.corruptions import CORRUPTIONS, STRENGTHS, Corruption
from fer_pipeline.analysis.progress import counted
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.metrics.intervals import mean_interval
from fer_pipeline.model_info import ModelInfo, Predict
from fer_pipeline.reports.components import Table, bold, image_cell, percent, small, stacked, toned
from fer_pipeline.reports.figures import BLUE, GRAY, RED, themed
from fer_pipeline.reports.page import write_report


@dataclass(frozen=True)
class Curve:
    """Accuracy and macro-F1 under one corruption, per strength, mildest first."""

    corruption: Corruption
    accuracy: tuple[float, ...]
    macro_f1: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the strengths."""
        return float(np.mean(self.accuracy))


@dataclass(frozen=True)
class Robustness:
    """What was measured on `rows` test pictures. `mean_corruption_accuracy` is the mean over all corruptions and strengths."""

    rows: int
    seed: int
    clean: Interval
    mean_corruption_accuracy: Interval
    majority: float
    curves: tuple[Curve, ...]

    @property
    def kept(self) -> float:
        """Mean accuracy under corruption as a share of the clean accuracy."""
        return self.mean_corruption_accuracy.estimate / self.clean.estimate if self.clean.estimate else 0.0


def evaluate_robustness(model: Path, processed: Path, out: Path, *, pictures: int | None, seed: int) -> Robustness:
    """Measure an exported model on the corrupted test split of `processed`, and write the report to `out`.

    Raises `ModelError` where model and table have different image specs, or there is no such model or table.
    """
    classifier = EmotionClassifier.load(model, threads=2)
    table = ProcessedTable.open(processed)
    classifier.info.check_image_spec(table.metadata, model=model, table=processed)
    test = table.split("test")
    result = measure(test, classifier.probabilities, pictures=pictures, seed=seed)
    write_robustness(out, result, test, classifier.info)
    return result


def measure(
    test: FaceDataset, predict: Predict, *, pictures: int | None = None, resamples: int = 1000, seed: int = 0
) -> Robustness:
    """Accuracy under every corruption, on all test pictures or on so many drawn by the seed.

    Corruptions meet the 48x48 model inputs; equal seeds give equal pictures. Intervals are 95 % percentile bootstrap intervals
    over pictures.
    """
    chosen = drawn(len(test), pictures, seed)
    images, labels = test.images[chosen], test.labels[chosen]
    clean = predict(images).argmax(axis=1) == labels
    predictions = predictions_under_corruption(images, predict, seed)
    right = predictions == labels
    macro_f1 = [float(classification.macro_f1(classification.confusion(labels, row))) for row in predictions]
    accuracy = right.mean(axis=1)
    curves = tuple(
        Curve(
            corruption,
            tuple(float(a) for a in accuracy[number * STRENGTHS : (number + 1) * STRENGTHS]),
            tuple(macro_f1[number * STRENGTHS : (number + 1) * STRENGTHS]),
        )
        for number, corruption in enumerate(CORRUPTIONS)
    )
    return Robustness(
        rows=len(labels),
        seed=seed,
        clean=mean_interval(clean.astype(float), resamples=resamples, seed=seed),
        mean_corruption_accuracy=mean_interval(right.mean(axis=0), resamples=resamples, seed=seed),
        majority=float(np.bincount(labels).max() / len(labels)),
        curves=curves,
    )


def drawn(rows: int, pictures: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Places of so many of the rows, drawn by the seed, in order; of all where `pictures` is None or more."""
    if pictures is None or pictures >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size=pictures, replace=False))


def predictions_under_corruption(images: UInt8Array, predict: Predict, seed: int) -> npt.NDArray[np.int64]:
    """Answers int (40, N) under every corruption of `CORRUPTIONS` at each of its strengths, mildest first.

    Equal seeds give equal pictures, whatever the model.
    """
    cells = [(number, corruption, strength) for number, corruption in enumerate(CORRUPTIONS) for strength in corruption.strengths]
    return np.stack(
        [
            predict(corrupted(images, corruption, strength, np.random.default_rng((seed, number)))).argmax(axis=1)
            for number, corruption, strength in counted(cells, "corruptions")
        ]
    )


def corrupted(images: UInt8Array, corruption: Corruption, strength: float, rng: np.random.Generator) -> UInt8Array:
    """Model inputs uint8 (N, 48, 48, 1), each corrupted in turn."""
    return np.stack([corruption.apply(np.ascontiguousarray(image[:, :, 0]), strength, rng) for image in images])[..., np.newaxis]


def write_robustness(out: Path, result: Robustness, test: FaceDataset, info: ModelInfo) -> dict[str, Any]:
    """The content of metrics.json. Replaces the folder `out`: metrics.json, report.html."""
    values: dict[str, Any] = {
        "model": info.fingerprint,
        "network": info.network,
        "synthetic": info.synthetic,
        "rows": result.rows,
        "seed": result.seed,
        "accuracy": asdict(result.clean),
        "mean_corruption_accuracy": asdict(result.mean_corruption_accuracy),
        "kept": result.kept,
        "corruptions": {
            curve.corruption.name: {
                "unit": curve.corruption.unit,
                "strengths": list(curve.corruption.strengths),
                "accuracy": list(curve.accuracy),
                "macro_f1": list(curve.macro_f1),
                "mean_accuracy": curve.mean,
            }
            for curve in result.curves
        },
    }
    write_report(
        out,
        "robustness.html",
        values,
        result=result,
        info=info,
        data_rows=len(test),
        figure=curves_figure(result),
        examples=_examples(test.images[:1], result),
    )
    return values


@themed
def curves_figure(result: Robustness) -> Figure:
    """Draw accuracy by strength, one panel per corruption.

    Lines show the clean accuracy (dashed) and that of always answering the largest class (dotted).
    """
    figure = Figure(figsize=(12, 5.6))
    panels = figure.subplots(2, 4, sharey=True)
    for axes, curve in zip(panels.flat, result.curves, strict=True):
        steps = range(STRENGTHS + 1)
        axes.axhline(result.clean.estimate, color=GRAY, linestyle="--", linewidth=1)
        axes.axhline(result.majority, color=RED, linestyle=":", linewidth=1)
        axes.plot(steps, (result.clean.estimate, *curve.accuracy), color=BLUE, marker="o", markersize=4)
        axes.set_xticks(steps, ("none", *(f"{strength:g}" for strength in curve.corruption.strengths)))
        axes.set(title=f"{curve.corruption.name}: mean {percent(curve.mean)}", xlabel=curve.corruption.unit, ylim=(0, 1))
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    return figure


def _examples(face: UInt8Array, result: Robustness) -> Table:
    """One face uint8 (1, 48, 48, 1) under every corruption, with the accuracies."""
    rows = []
    for number, curve in enumerate(result.curves):
        cells = [stacked((bold(curve.corruption.name), small(toned(curve.corruption.unit, "dim"))))]
        for strength, accuracy in zip(curve.corruption.strengths, curve.accuracy, strict=True):
            image = corrupted(face, curve.corruption, strength, np.random.default_rng((result.seed, number)))[0]
            cells.append(stacked((image_cell(image, "", side=72), small(f"{strength:g}: {percent(accuracy)}"))))
        rows.append((*cells, percent(curve.mean), percent(float(np.mean(curve.macro_f1)))))
    headers = ("", *(f"strength {number}" for number in range(1, STRENGTHS + 1)), "mean accuracy", "mean macro-F1")
    return Table(headers, tuple(rows), align="l" + "L" * STRENGTHS + "rr")
