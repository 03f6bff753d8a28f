"""Metrics and calibration against FER+ votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.measure import measure
from fer_pipeline.evaluation.votes import vote_metrics
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, common_name
from fer_pipeline.metrics.classification import softmax

Make = Callable[[int, int], FaceDataset]
COLUMNS = [[common_name(column) for column in FERPLUS_COLUMNS].index(name) for name in EMOTIONS]
PARAMS = EvaluateParams(bootstrap=100, test_time_augmentation=False)


def with_votes(faces: FaceDataset, share: float) -> FaceDataset:
    """Ten votes a row: `share` of them for the class after the label, the rest for the label."""
    votes = np.zeros((len(faces), 10), np.float32)
    rows = np.arange(len(faces))
    votes[rows, np.array(COLUMNS)[faces.labels]] = 10 * (1 - share)
    votes[rows, np.array(COLUMNS)[(faces.labels + 1) % 7]] = 10 * share
    return replace(faces, votes=votes)


def test_agreement_is_with_the_votes_not_the_labels(make_stripes: Make) -> None:
    """Where most votes are for another emotion than the label, the label is no agreement."""
    faces = with_votes(make_stripes(70, 0), 0.7)
    by_label, by_votes = (np.eye(7)[(faces.labels + step) % 7] for step in (0, 1))
    assert vote_metrics(faces, by_label)["vote_agreement"] == 0
    found = vote_metrics(faces, by_votes)
    assert found["vote_agreement"] == found["vote_macro_f1"] == found["vote_agreement_at_80"] == 1
    assert found["vote_rows"] == 70
    assert found["vote_total_variation"] == pytest.approx(0.3)
    assert 0.9 < found["vote_agreement_low"] < 1


def test_tables_without_votes_have_no_such_metrics(make_stripes: Make) -> None:
    faces = make_stripes(14, 0)
    assert vote_metrics(faces, np.eye(7)[faces.labels]) == {}
    assert vote_metrics(replace(faces, votes=np.zeros((14, 10), np.float32)), np.eye(7)[faces.labels]) == {}


@pytest.mark.parametrize(("share", "standard", "expected"), [(0.5, "votes", 0.7), (0.0, "labels", 1.0)])
def test_a_model_is_calibrated_by_what_it_learned(make_stripes: Make, share: float, standard: str, expected: float) -> None:
    """Votes of 7 to 3 leave a model of votes 70 % sure, however sure its logits were."""
    faces = with_votes(make_stripes(70, 0), 0.3)

    def predict(images: UInt8Array) -> npt.NDArray[np.float32]:
        first, second = (np.eye(7, dtype=np.float32)[(faces.labels + step) % 7] for step in (0, 1))
        return (40 * first + 38 * second - 30)[: len(images)]

    calibration = measure(predict, faces, faces, PARAMS, {"params": {"vote_share": share}}).calibration
    assert calibration["standard"] == standard
    sure = softmax(predict(faces.images), calibration["temperature"]).max(axis=1).mean()
    assert sure == pytest.approx(expected, abs=0.02)
    assert calibration["nll_after"] <= calibration["nll_before"]


def test_a_model_of_votes_needs_votes_to_be_calibrated(make_stripes: Make) -> None:
    faces = make_stripes(14, 0)
    with pytest.raises(ModelError, match="no validation row has votes"):
        measure(lambda images: np.zeros((len(images), 7), np.float32), faces, faces, PARAMS, {"params": {"vote_share": 1.0}})
