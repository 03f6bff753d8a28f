"""Measure a model on the test split, calibrated on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.result import Evaluation, Subset
from fer_pipeline.evaluation.tta import TTA_VIEWS, tta_views
from fer_pipeline.evaluation.votes import COVERAGES, vote_metrics
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.calibration import fit_temperature
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.metrics.curves import precision_recall, roc, thinned
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.metrics.vote_shares import MIN_LEARNED, VoteShares
from fer_pipeline.metrics.votes import accuracy_at, cross_entropy, share_calibration_error

BY_VOTES = 0.5
"""Share of the votes in the targets from which a model is calibrated on votes."""

PredictLogits = Callable[[UInt8Array], npt.NDArray[np.float32]]
"""A function from images uint8 (N, 48, 48, 1) to logits float32 (N, 7)."""


def measure(
    predict: PredictLogits,
    calibrate_on: FaceDataset | float,
    test: FaceDataset,
    params: EvaluateParams,
    training: Mapping[str, Any] = MappingProxyType({}),
    history: Sequence[dict[str, float]] = (),
) -> Evaluation:
    """Measure everything that the report shows.

    `calibrate_on` is the validation split, on which the temperatures are fitted and which is measured, too, or the temperature
    of a finished model. A model whose recipe in `training` has a `vote_share` of at least `BY_VOTES` is calibrated on the votes
    of the validation rows, others on their labels. Test labels and votes are used for measuring only. `training` and `history`
    may be empty where no report is written. Raises `ModelError` where a logit is not finite, or validation has no votes to
    calibrate such a model.
    """
    logits = _logits(predict, test.images)
    by_votes = training.get("params", {}).get("vote_share", 0.0) >= BY_VOTES
    calibration, on_validation = _calibrated(predict, calibrate_on, by_votes=by_votes)
    probabilities = classification.softmax(logits, calibration["temperature"])
    predictions = logits.argmax(axis=1)
    table = classification.confusion(test.labels, predictions)
    before = classification.reliability(test.labels, classification.softmax(logits))
    after = classification.reliability(test.labels, probabilities)
    subsets = (
        _subset("all test rows", np.ones(len(test), bool), test, predictions, params),
        _subset("rows without a copy in training or earlier in test", test.unseen, test, predictions, params),
        _subset("rows with such a copy", ~test.unseen, test, predictions, params),
    )
    figures = _flat_metrics(test, probabilities, table, subsets)
    figures |= {"ece": after.ece, "ece_uncalibrated": before.ece, **on_validation, **vote_metrics(test, probabilities)}
    if params.test_time_augmentation:
        temperature, on_validation = _calibrated_mean(predict, calibrate_on, by_votes=by_votes)
        figures |= _tta_metrics(test, _mean_logits(predict, test.images), temperature, params) | on_validation
    return Evaluation(
        test=test,
        probabilities=probabilities,
        confusion=table,
        recalls={name: _recall(table, index) for index, name in enumerate(EMOTIONS)},
        subsets=subsets,
        metrics=figures,
        calibration=calibration,
        reliability_before=before,
        reliability_after=after,
        roc={name: thinned(roc(test.labels == i, probabilities[:, i])) for i, name in enumerate(EMOTIONS)},
        precision_recall={
            name: thinned(precision_recall(test.labels == i, probabilities[:, i])) for i, name in enumerate(EMOTIONS)
        },
        training=training,
        history=history,
    )


def _calibrated(
    predict: PredictLogits, calibrate_on: FaceDataset | float, *, by_votes: bool
) -> tuple[dict[str, Any], dict[str, float]]:
    """Content of calibration.json, and metrics of the validation split if it was read."""
    if not isinstance(calibrate_on, FaceDataset):
        return {"temperature": calibrate_on, "fitted_on": "the validation split of its own training"}, {}
    logits, labels = _logits(predict, calibrate_on.images), calibrate_on.labels
    rows, targets = _calibration_targets(calibrate_on, by_votes=by_votes)
    temperature = fit_temperature(logits[rows], targets)
    before, after = classification.softmax(logits[rows]), classification.softmax(logits[rows], temperature)
    calibration = {
        "temperature": temperature,
        "fitted_on": "validation",
        "standard": "votes" if by_votes else "labels",
        "rows": len(targets),
        "nll_before": cross_entropy(targets, before),
        "nll_after": cross_entropy(targets, after),
        "ece_before": share_calibration_error(targets, before),
        "ece_after": share_calibration_error(targets, after),
    }
    return calibration, {"validation_accuracy": float((logits.argmax(axis=1) == labels).mean())}


def _calibration_targets(
    validation: FaceDataset, *, by_votes: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating[Any]]]:
    """Rows (N,) to calibrate on, and the target of each (M, 7).

    Votes: rows with at least `MIN_LEARNED`. Labels: all rows.
    """
    if not by_votes:
        return np.ones(len(validation), bool), np.eye(len(EMOTIONS))[validation.labels]
    votes = VoteShares.of(validation.votes) if validation.votes is not None else None
    if votes is None or not (votes.counts >= MIN_LEARNED).any():
        raise ModelError(
            "the model learned from FER+ votes (train.vote_share), but no validation row has votes to calibrate it: give them "
            "with the data (`fer data add PATH --votes fer2013new.csv`)"
        )
    chosen = votes.counts >= MIN_LEARNED
    return chosen, votes.shares[chosen]


def _calibrated_mean(
    predict: PredictLogits, calibrate_on: FaceDataset | float, *, by_votes: bool
) -> tuple[float | None, dict[str, float]]:
    """Temperature and validation metrics of the mean over ten views.

    None and empty where the validation split was not read.
    """
    if not isinstance(calibrate_on, FaceDataset):
        return None, {}
    mean = _mean_logits(predict, calibrate_on.images)
    right = float((mean.argmax(axis=1) == calibrate_on.labels).mean())
    rows, targets = _calibration_targets(calibrate_on, by_votes=by_votes)
    return fit_temperature(mean[rows], targets), {"validation_accuracy_tta": right}


def _logits(predict: PredictLogits, images: UInt8Array) -> npt.NDArray[np.float32]:
    logits = predict(np.ascontiguousarray(images))
    if not np.isfinite(logits).all():
        raise ModelError(
            f"the network returned non-finite logits for {(~np.isfinite(logits)).any(axis=1).sum()} rows: train again"
        )
    return logits


def _mean_logits(predict: PredictLogits, images: UInt8Array) -> npt.NDArray[np.float32]:
    """Mean logits (N, 7) over the views of each image."""
    total = sum(_logits(predict, view) for view in tta_views(images))
    mean: npt.NDArray[np.float32] = np.asarray(total, np.float32) / np.float32(TTA_VIEWS)
    return mean


def _subset(
    name: str, chosen: npt.NDArray[np.bool_], test: FaceDataset, predictions: npt.NDArray[np.int64], params: EvaluateParams
) -> Subset:
    rows = int(chosen.sum())
    if not rows:
        return Subset(name, 0, None, None)
    table = classification.confusion(test.labels[chosen], predictions[chosen])
    return Subset(
        name,
        rows,
        classification.bootstrap(table, classification.accuracy, resamples=params.bootstrap, seed=params.seed),
        classification.bootstrap(table, classification.macro_f1, resamples=params.bootstrap, seed=params.seed),
    )


def _recall(table: npt.NDArray[np.int64], index: int) -> Interval | None:
    rows = int(table[index].sum())
    return share_interval(int(table[index, index]), rows) if rows else None


def _tta_metrics(
    test: FaceDataset, logits: npt.NDArray[np.float32], temperature: float | None, params: EvaluateParams
) -> dict[str, float]:
    predictions = logits.argmax(axis=1)
    whole = _subset("test-time augmentation", np.ones(len(test), bool), test, predictions, params)
    unseen = _subset("test-time augmentation, rows without a copy", test.unseen, test, predictions, params)
    found = _subset_metrics(whole, "_tta") | _subset_metrics(unseen, "_tta_dedup")
    if temperature is not None:
        found["ece_tta"] = classification.reliability(test.labels, classification.softmax(logits, temperature)).ece
    return found


def _flat_metrics(
    test: FaceDataset, probabilities: npt.NDArray[np.float64], table: npt.NDArray[np.int64], subsets: tuple[Subset, ...]
) -> dict[str, float]:
    found: dict[str, float] = {"rows": len(test), "rows_dedup": subsets[1].rows}
    found |= _subset_metrics(subsets[0], "") | _subset_metrics(subsets[1], "_dedup")
    found |= {
        "weighted_f1": float(classification.weighted_f1(table)),
        "top2": classification.top_k_accuracy(test.labels, probabilities),
        "nll": classification.nll(test.labels, probabilities),
        "brier": classification.brier(test.labels, probabilities),
        **{f"accuracy_at_{percent}": accuracy_at(percent / 100, test.labels, probabilities) for percent in COVERAGES},
    }
    for prefix, values in (
        ("recall", classification.recalls(table)),
        ("precision", classification.precisions(table)),
        ("f1", classification.f1_scores(table)),
    ):
        found |= {f"{prefix}_{name}": float(value) for name, value in zip(EMOTIONS, values, strict=True)}
    return found


def _subset_metrics(subset: Subset, suffix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, interval in (("accuracy", subset.accuracy), ("macro_f1", subset.macro_f1)):
        if interval is not None:
            found[f"{name}{suffix}"] = interval.estimate
            found[f"{name}{suffix}_low"], found[f"{name}{suffix}_high"] = interval.low, interval.high
    return found
