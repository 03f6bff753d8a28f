"""Metrics of a model on an external data set, over the shared classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_pipeline.analysis.external.images import ExternalDataset
from fer_pipeline.analysis.progress import progress_bar
from fer_pipeline.errors import ImageError, SourceError
from fer_pipeline.imaging import ImageSpec, UInt8Array, to_model_input
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.model_info import Predict

FindFace = Callable[[UInt8Array], UInt8Array | None]
"""Crops the largest face of an image, RGB (H, W, 3) or gray (H, W), in the framing of FER-2013; None without a face."""

_BATCH = 256


@dataclass(frozen=True)
class ExternalResult:
    """Results on one data set.

    `shared` are the classes that model and data set have, `lacking` those of the model that the set lacks; `left_out` counts
    images by their label that the model lacks. `unreadable` and `without_face` name the images without an answer; they are in
    no figure. `confusion` int (7, 7) holds free answers; `restricted_accuracy` lets the model choose among the shared classes.
    """

    data: ExternalDataset
    detector: str | None
    shared: tuple[str, ...]
    left_out: dict[str, int]
    lacking: tuple[str, ...]
    unreadable: tuple[str, ...]
    without_face: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    accuracy: Interval
    macro_f1: Interval
    restricted_accuracy: Interval
    recalls: dict[str, Interval]
    ece: float

    @property
    def rows(self) -> int:
        """Number of images in the figures."""
        return int(self.confusion.sum())


def measure_dataset(
    data: ExternalDataset,
    predict: Predict,
    spec: ImageSpec,
    *,
    find_face: FindFace | None = None,
    detector: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ExternalResult:
    """Evaluate a model on an external data set.

    `find_face` crops the largest face of each image, `detector` is its name for the report; without it each image is one face.
    Raises `SourceError` where no image of a shared class can be measured.
    """
    known = [image for image in data.images if image.label in EMOTIONS]
    left_out = Counter(image.label for image in data.images if image.label not in EMOTIONS)
    inputs: list[UInt8Array] = []
    answers: list[npt.NDArray[np.float64]] = []
    labels: list[int] = []
    unreadable: list[str] = []
    without_face: list[str] = []
    for item in progress_bar(known, data.title):
        try:
            image = item.read()
            face = find_face(image) if find_face else image
        except ImageError:
            unreadable.append(item.name)
            continue
        if face is None:
            without_face.append(item.name)
            continue
        inputs.append(to_model_input(face, spec))
        labels.append(EMOTIONS.index(item.label))
        if len(inputs) == _BATCH:  # keeps the memory small on sets of any size
            answers.append(predict(np.stack(inputs)))
            inputs.clear()
    if inputs:
        answers.append(predict(np.stack(inputs)))
    if not answers:
        raise SourceError(
            f"none of the {len(known):,} pictures of {data.title} could be measured: {len(unreadable):,} are unreadable, "
            f"in {len(without_face):,} no face was found"
        )
    return _result(
        data, detector, np.array(labels), np.concatenate(answers), dict(left_out), unreadable, without_face, resamples, seed
    )


def _result(
    data: ExternalDataset,
    detector: str | None,
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    left_out: dict[str, int],
    unreadable: list[str],
    without_face: list[str],
    resamples: int,
    seed: int,
) -> ExternalResult:
    shared = np.unique(labels)
    among_shared = shared[probabilities[:, shared].argmax(axis=1)]
    free = classification.confusion(labels, probabilities.argmax(axis=1))
    restricted = classification.confusion(labels, among_shared)

    return ExternalResult(
        data=data,
        detector=detector,
        shared=tuple(EMOTIONS[i] for i in shared),
        left_out=left_out,
        lacking=tuple(name for i, name in enumerate(EMOTIONS) if i not in shared),
        unreadable=tuple(unreadable),
        without_face=tuple(without_face),
        confusion=free,
        accuracy=share_interval(int(np.trace(free)), len(labels)),
        macro_f1=classification.bootstrap(
            free, lambda tables: classification.f1_scores(tables)[..., shared].mean(axis=-1), resamples=resamples, seed=seed
        ),
        restricted_accuracy=share_interval(int(np.trace(restricted)), len(labels)),
        recalls={EMOTIONS[i]: share_interval(int(free[i, i]), int(free[i].sum())) for i in shared},
        ece=classification.reliability(labels, probabilities).ece,
    )
