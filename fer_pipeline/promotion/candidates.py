"""Run registered versions on test rows that none of them was trained on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.analysis.robustness import measure as robustness
from fer_pipeline.config.params import load_params
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import seen_in_training
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.experiments import registry
from fer_pipeline.experiments.exports import local_export, training_images
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.metrics.vote_shares import VoteShares
from fer_pipeline.metrics.votes import judged_rows, plurality
from fer_pipeline.model_info import MODEL_FILE
from fer_pipeline.promotion.comparison import Comparison, compare
from fer_pipeline.promotion.decision import Candidate
from fer_pipeline.promotion.report import write_comparison
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import PARAMS

_BATCH = 256


@dataclass(frozen=True)
class EvaluationSet:
    """The test split in use, and the rows of it that versions are evaluated on.

    `unseen` is bool (N,) over the rows of the split. `unseen` is false for rows with a copy among the training images of a
    version, and for exact copies of an earlier test row: a copy is not independent evidence. Where answers are judged by FER+
    votes, the labels are the emotions with most votes, and `unseen` is false for rows without one. `metadata` is the content of
    facts.json; `unknown_training_data` holds the run ids of models without a list of their training images.
    """

    faces: FaceDataset
    metadata: dict[str, Any]
    unseen: npt.NDArray[np.bool_]
    unknown_training_data: frozenset[str]

    @property
    def images(self) -> UInt8Array:
        """The images to evaluate on, uint8 (M, 48, 48, 1)."""
        return self.faces.images[self.unseen]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Their labels (M,)."""
        return self.faces.labels[self.unseen]


def shared_evaluation_set(processed: Path, versions: Sequence[registry.Version], standard: str) -> EvaluationSet:
    """Select the test rows that none of the versions was trained on.

    `standard` is "labels" or "votes", as `promote.standard`. Raises `ModelError` where no row is left, `ParamsError` where rows
    are to be judged by votes and have none.
    """
    table = ProcessedTable.open(processed)
    faces = table.split("test")
    judged = np.ones(len(faces), bool)
    if standard == "votes":
        faces, judged = _judged_by_votes(faces)
    lists = {version.run_id: training_images(version) for version in versions}
    unseen = judged & (faces.copy_rank == 0)
    for known in lists.values():
        if known is not None:
            unseen &= ~seen_in_training(faces, table, "test", known)
    if not unseen.any():
        raise ModelError(
            f"every test row has a copy in the training data of {' or '.join(map(str, versions))}: bring new test rows"
        )
    unknown_training_data = frozenset(run_id for run_id, known in lists.items() if known is None)
    return EvaluationSet(faces, table.metadata, unseen, unknown_training_data)


def evaluate_candidate(version: registry.Version, rows: EvaluationSet, corruption_pictures: int = 0, seed: int = 0) -> Candidate:
    """Run a version on the unseen rows, and on corrupted copies of some of them.

    `corruption_pictures` rows are corrupted (0: none). Raises `ModelError` where the version expects another image spec.
    """
    folder = local_export(version)
    classifier = EmotionClassifier.load(folder)
    try:
        classifier.info.check_image_spec(rows.metadata, model=version, table="the test split in use")
    except ModelError as error:
        raise ModelError(f"{error}; `fer rollback --to` makes a version of the new kind champion") from error
    corruption_accuracy = None
    if corruption_pictures:
        corruption_accuracy = _corruption_accuracy(classifier, rows, corruption_pictures, seed)
    return Candidate(
        name=str(version),
        synthetic=classifier.info.synthetic,
        probabilities=_answers(classifier, rows.images),
        latency_ms=_median_latency(classifier, rows.images[:1]),
        megabytes=(folder / MODEL_FILE).stat().st_size / 1e6,
        corruption_accuracy=corruption_accuracy,
        unknown_training_data=version.run_id in rows.unknown_training_data,
    )


def compare_versions(root: Path, a: registry.Version, b: registry.Version, out: Path) -> Comparison:
    """Compare two versions on the test split in use.

    Replaces the folder `out` with page and figures of what changes from a to b. As for the gate, rows of which one of them was
    trained on a copy are left out. Both models are run: stored predictions would be of the test rows of their days, which need
    not be the same. Raises `ModelError` where the two are one version, or one of them expects pictures prepared otherwise, so
    that it cannot answer to the same rows.
    """
    if str(a) == str(b):
        raise ModelError(f"both are {a}: name two versions (`fer models list`)")
    params = load_params(root / PARAMS).promote
    rows = shared_evaluation_set(dvc.output(root, "preprocess"), [a, b], params.standard)
    first, second = (evaluate_candidate(version, rows) for version in (a, b))
    result = compare(first, second, rows.labels, params)
    source = rows.metadata["source"]
    write_comparison(
        out,
        result,
        first,
        second,
        rows.images,
        rows.faces.ids[rows.unseen],
        data=data_name(source["name"], params.standard),
        synthetic=source["synthetic"],
        confidence=params.confidence,
    )
    return result


def data_name(source: str, standard: str) -> str:
    """Name the data of a decision, with the standard where that is not the labels."""
    return source if standard == "labels" else f"{source}, judged by FER+ votes"


def _judged_by_votes(faces: FaceDataset) -> tuple[FaceDataset, npt.NDArray[np.bool_]]:
    votes = VoteShares.of(faces.votes) if faces.votes is not None else None
    if votes is None or not judged_rows(votes).any():
        raise ParamsError(
            "promote.standard is votes, but no test row can be judged by FER+ votes: give them with the data (`fer data add PATH "
            "--votes fer2013new.csv`), or set promote.standard to labels"
        )
    return replace(faces, labels=plurality(votes)), judged_rows(votes)


def _answers(classifier: EmotionClassifier, images: UInt8Array) -> npt.NDArray[np.float64]:
    return np.concatenate([classifier.probabilities(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)])


def _corruption_accuracy(classifier: EmotionClassifier, rows: EvaluationSet, images: int, seed: int) -> npt.NDArray[np.float64]:
    chosen = robustness.sample_rows(len(rows.labels), images, seed)
    predictions = robustness.predict_corrupted(rows.images[chosen], classifier.probabilities, seed)
    share: npt.NDArray[np.float64] = (predictions == rows.labels[chosen]).mean(axis=0)
    return share


def _median_latency(classifier: EmotionClassifier, image: UInt8Array, repeats: int = 30) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        classifier.probabilities(image)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
