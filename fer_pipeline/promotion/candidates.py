"""Registered versions on the same test rows, for gate and comparison: which rows are fair to them, and what each answers."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.analysis import robustness
from fer_pipeline.config import params as params_file
from fer_pipeline.data.table.reader import Faces, load_facts, load_split
from fer_pipeline.data.table.training_images import learned_from
from fer_pipeline.errors import ModelError
from fer_pipeline.experiments import registry
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.model_info import MODEL_FILE
from fer_pipeline.promotion.comparison import Comparison, compare
from fer_pipeline.promotion.decision import Contestant
from fer_pipeline.promotion.report import write_comparison
from fer_pipeline.workspace import dvc

_BATCH = 256


@dataclass(frozen=True)
class JudgedRows:
    """The test split in use, and on which of its rows (N,) versions are judged.

    `unseen` leaves out the rows with a copy among the pictures that a version was trained on, and those with an exact copy
    earlier in the test split itself: a copy is no second piece of evidence. `facts` is the content of facts.json; `unlisted`
    holds the run ids of models without a list of the pictures they were trained on.
    """

    faces: Faces
    facts: dict[str, Any]
    unseen: npt.NDArray[np.bool_]
    unlisted: frozenset[str]

    @property
    def images(self) -> UInt8Array:
        """The pictures to judge on, uint8 (M, 48, 48, 1)."""
        return self.faces.images[self.unseen]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Their labels (M,)."""
        return self.faces.labels[self.unseen]


def judged_rows(processed: Path, versions: Sequence[registry.Version]) -> JudgedRows:
    """The test rows on which these versions can be judged. Raises `ModelError` where each has a copy in training data."""
    faces = load_split(processed, "test")
    lists = {version.run_id: registry.training_pictures(version) for version in versions}
    unseen = faces.copy_rank == 0
    for known in lists.values():
        if known is not None:
            unseen &= ~learned_from(faces, processed, "test", known)
    if not unseen.any():
        raise ModelError(
            f"every test row has a copy in the training data of {' or '.join(map(str, versions))}: bring new test rows"
        )
    unlisted = frozenset(run_id for run_id, known in lists.items() if known is None)
    return JudgedRows(faces, load_facts(processed), unseen, unlisted)


def contestant(version: registry.Version, rows: JudgedRows, corruption_pictures: int = 0, seed: int = 0) -> Contestant:
    """What the version answers to the unseen rows, and to corrupted copies of so many of them (0: of none).

    Raises `ModelError` where it expects pictures prepared otherwise.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = registry.download_export(version, Path(scratch))
        classifier = EmotionClassifier.load(folder)
        if asdict(classifier.info.image_spec) != rows.facts["image_spec"]:
            raise ModelError(
                f"{version} expects pictures as {classifier.info.image_spec}, the test split in use was prepared otherwise: run "
                "with the preprocess values of that version, or make a version of the new kind champion by `fer rollback --to`"
            )
        corruption_accuracy = None
        if corruption_pictures:
            corruption_accuracy = _corruption_accuracy(classifier, rows, corruption_pictures, seed)
        return Contestant(
            name=str(version),
            synthetic=classifier.info.synthetic,
            probabilities=_answers(classifier, rows.images),
            latency_ms=_median_latency(classifier, rows.images[:1]),
            megabytes=(folder / MODEL_FILE).stat().st_size / 1e6,
            corruption_accuracy=corruption_accuracy,
            training_known=version.run_id not in rows.unlisted,
        )


def compare_versions(root: Path, a: registry.Version, b: registry.Version, out: Path) -> Comparison:
    """What changes from a to b on the test split in use; replaces the folder `out` with page and figures.

    As for the gate, rows of which one of them was trained on a copy are left out. Both models are run: stored predictions would
    be of the test rows of their days, which need not be the same. Raises `ModelError` where the two are one version, or one of
    them expects pictures prepared otherwise, so that it cannot answer to the same rows.
    """
    if str(a) == str(b):
        raise ModelError(f"both are {a}: name two versions (`fer models list`)")
    params = params_file.load(root / "params.yaml").promote
    rows = judged_rows(dvc.output(root, "preprocess"), [a, b])
    first, second = (contestant(version, rows) for version in (a, b))
    result = compare(first, second, rows.labels, params)
    source = rows.facts["source"]
    write_comparison(
        out,
        result,
        first,
        second,
        rows.images,
        rows.faces.ids[rows.unseen],
        data=source["name"],
        synthetic=source["synthetic"],
        confidence=params.confidence,
    )
    return result


def _answers(classifier: EmotionClassifier, images: UInt8Array) -> npt.NDArray[np.float64]:
    return np.concatenate([classifier.probabilities(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)])


def _corruption_accuracy(classifier: EmotionClassifier, rows: JudgedRows, pictures: int, seed: int) -> npt.NDArray[np.float64]:
    chosen = robustness.drawn(len(rows.labels), pictures, seed)
    predictions = robustness.predictions_under_corruption(rows.images[chosen], classifier.probabilities, seed)
    share: npt.NDArray[np.float64] = (predictions == rows.labels[chosen]).mean(axis=0)
    return share


def _median_latency(classifier: EmotionClassifier, image: UInt8Array, repeats: int = 30) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        classifier.probabilities(image)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
