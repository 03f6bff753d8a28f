"""Ensembles of exported models, or of several views of an image by one model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import (
    joined_training_images,
    load_held_out,
    load_test,
    write_training_images,
)
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.evaluation import tta
from fer_pipeline.evaluation.measure import measure
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.metrics.classification import softmax
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.onnx_graph import MIN_PROBABILITY, merge
from fer_pipeline.models.recalibration import THREADS, recalibrated
from fer_pipeline.workspace.files import replaced_folder

_CHECKED_ROWS = 64
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Ensemble:
    """The ensemble that was written, and the metrics of its members on the same rows."""

    info: ModelInfo
    members: dict[str, dict[str, float]]


def build_ensemble(
    members: Mapping[str, Path],
    processed: Path,
    out: Path,
    params: EvaluateParams,
    lineage: Mapping[str, str],
    tta_views: int = 1,
) -> Ensemble:
    """Build an exported model that averages the probabilities of its members.

    It replaces the folder `out`.

    `members` are folders of exported models by name. Each member averages its logits over the first `tta_views` views of
    `evaluation.tta`: one member with ten views is test-time augmentation in one network. A temperature is fitted on the
    validation split, since a mean of calibrated probabilities is underconfident; rows that a member was trained on are left
    out. metrics.json holds the metrics on the test split; there is no model.keras.

    Raises `ParamsError` for fewer than two members times views, `ModelError` where a member does not fit the table, has no list
    of training images or another ONNX opset than the others.
    """
    if not 1 <= tta_views <= tta.TTA_VIEWS:
        raise ParamsError(f"{tta_views} views of a picture, expected 1 to {tta.TTA_VIEWS}")
    if len(members) * tta_views < 2:
        raise ParamsError(f"an ensemble of {len(members)} model and one view, expected two models or two views at least")
    table = ProcessedTable.open(processed)
    classifiers = {name: EmotionClassifier.load(path, THREADS) for name, path in members.items()}
    infos = [classifier.info for classifier in classifiers.values()]
    for name, info in zip(members, infos, strict=True):
        info.check_table(table.metadata, model=name, table=processed)
    validation, test = load_held_out(table, members), load_test(table, *members.values())
    learned = joined_training_images(members.values())
    with replaced_folder(out) as folder:
        merge(
            [(path / MODEL_FILE, info.temperature) for path, info in zip(members.values(), infos, strict=True)],
            folder / MODEL_FILE,
            tta_views,
        )
        write_training_images(folder, learned)
        info = ModelInfo(
            network=_network(infos, tta_views),
            sha256=file_sha256(folder / MODEL_FILE),
            temperature=1.0,
            image_spec=infos[0].image_spec,
            synthetic=infos[0].synthetic,
            data=infos[0].data,
            lineage={**lineage, "members": ", ".join(f"{name} {c.info.fingerprint}" for name, c in classifiers.items())},
        )
        info.write(folder)
        cached = {name: _CachedLogits(classifier) for name, classifier in classifiers.items()}
        found = {name: measure(answers, validation, test, params) for name, answers in cached.items()}
        mean = _Mean(list(cached.values()), tta_views)
        _check_same(EmotionClassifier.load(folder, THREADS), mean, test.images[:_CHECKED_ROWS])
        once = (
            params if tta_views == 1 else params.model_copy(update={"test_time_augmentation": False})
        )  # its members average already
        info, _ = recalibrated(folder, validation, test, once, logits=mean)
    return Ensemble(info, {name: evaluation.metrics for name, evaluation in found.items()})


class _CachedLogits:
    """Logits of a model, computed once per array of images.

    The model's own metrics and those of the ensemble need them.
    """

    def __init__(self, classifier: EmotionClassifier) -> None:
        self.temperature = classifier.info.temperature
        self._classifier = classifier
        self._known: dict[bytes, npt.NDArray[np.float32]] = {}

    def __call__(self, images: UInt8Array) -> npt.NDArray[np.float32]:
        key = hashlib.sha256(images.data).digest()
        if key not in self._known:
            self._known[key] = self._classifier.logits(images)
        return self._known[key]


class _Mean:
    """The logits of the merged network, computed from the members' cached logits."""

    def __init__(self, members: list[_CachedLogits], tta_views: int) -> None:
        self._members = members
        self._tta_views = tta_views

    def __call__(self, images: UInt8Array) -> npt.NDArray[np.float32]:
        seen = [np.ascontiguousarray(view) for view in islice(tta.tta_views(images), self._tta_views)]
        means = [np.mean([member(view) for view in seen], axis=0) for member in self._members]
        mean = np.mean([softmax(m, member.temperature) for m, member in zip(means, self._members, strict=True)], axis=0)
        logits: npt.NDArray[np.float32] = np.log(np.maximum(mean, MIN_PROBABILITY)).astype(np.float32)
        return logits


def _check_same(merged: EmotionClassifier, mean: _Mean, images: UInt8Array) -> None:
    difference = float(np.abs(np.exp(merged.logits(images)) - np.exp(mean(images))).max())
    if not difference < _TOLERANCE:
        raise ModelError(
            f"the merged network's probabilities differ by up to {difference:.2g} from the mean of its members, expected less "
            f"than {_TOLERANCE:g}: report this as a fault, with the members' names"
        )


def _network(infos: list[ModelInfo], tta_views: int) -> str:
    names = ", ".join(info.network for info in infos)
    joined = names if len(infos) == 1 else f"ensemble of {len(infos)}: {names}"
    return joined if tta_views == 1 else f"{joined}, mean of {tta_views} views"
