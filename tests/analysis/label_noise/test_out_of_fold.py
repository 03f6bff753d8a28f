from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from fer_pipeline.analysis.label_noise import out_of_fold
from fer_pipeline.analysis.label_noise.out_of_fold import OutOfFold, predict_out_of_fold
from fer_pipeline.cli.app import app
from fer_pipeline.config.params import load_params
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import with_soft_labels
from tests.analysis.label_noise.samples import ROWS, predictions

RECIPE = TrainParams(network="plain_cnn", epochs=1, batch_size=28, lr=0.02)


class Killed(BaseException):
    """Stands for kill -9."""


def test_a_killed_analysis_keeps_its_finished_folds(processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed analysis keeps its finished folds, and no model was trained on the rows that it predicts."""
    train = out_of_fold.train
    seen: list[set[str]] = []

    def watched(rest: FaceDataset, *arguments: object) -> object:
        if len(seen) == 1:
            seen.append(set())
            raise Killed
        seen.append(set(rest.ids.tolist()))
        return train(rest, *arguments)

    monkeypatch.setattr(out_of_fold, "train", watched)
    folder, said = tmp_path / "noise", list[str]()
    with pytest.raises(Killed):
        predict_out_of_fold(processed, folder, RECIPE, folds=2, seed=0, on_progress=said.append)
    assert not (folder / "out_of_fold.parquet").exists()
    result = predict_out_of_fold(processed, folder, RECIPE, folds=2, seed=0, on_progress=said.append)
    assert any("fold 0: finished earlier" in line for line in said)
    assert len(seen) == 3
    for fold, trained_on in ((0, seen[0]), (1, seen[2])):
        judged = set(result.ids[result.folds == fold].tolist())
        assert judged.isdisjoint(trained_on)
        assert len(judged | trained_on) == ROWS
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-6)
    stored = pq.read_table(folder / "out_of_fold.parquet").to_pydict()
    np.testing.assert_allclose(stored["probabilities"], result.probabilities, atol=1e-6)
    assert stored["id"] == ProcessedTable.open(processed).split("train").ids.tolist()
    assert result.metadata["accuracy"] == pytest.approx((np.argmax(stored["probabilities"], axis=1) == stored["label"]).mean())
    assert sum(stored["augmented"]) == 1
    del seen[1:]
    with pytest.raises(Killed):  # another seed is another analysis: nothing is taken over
        predict_out_of_fold(processed, folder, RECIPE, folds=2, seed=1, on_progress=said.append)
    assert said[-2].startswith("fold 0: the result of an earlier analysis has other parameters")


def test_one_command_switches_training_to_soft_labels(processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command makes the current parameters train with soft labels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[3] / "params.yaml").read_text())
    predicted = predictions(ProcessedTable.open(processed).split("train"), [3])
    Repo.init(str(tmp_path), no_scm=True)
    asked: list[TrainParams] = []

    def predict(_processed: Path, _folder: Path, recipe: TrainParams, **_: object) -> OutOfFold:
        asked.append(recipe)
        return predicted

    monkeypatch.setattr(out_of_fold, "predict_out_of_fold", predict)
    done = CliRunner().invoke(app, ["label-noise", "--processed", str(processed), "--epochs", "6", "--soft-label-weight", "0.3"])
    assert done.exit_code == 0
    assert "1 suspicious labels" in done.output
    train = load_params(Path("params.yaml")).train
    assert train.soft_label_weight == 0.3
    softened = with_soft_labels(
        ProcessedTable.open(processed).split("train"), tmp_path / "data" / "soft_labels", train.soft_labels_hash
    )
    np.testing.assert_array_equal(softened.soft_labels, predicted.probabilities.astype(np.float32))
    assert softened.rows(np.array([3, 5])).soft_labels is None  # a fold is trained on the given labels
    assert (tmp_path / "data" / "soft_labels.dvc").is_file()
    assert (asked[0].epochs, asked[0].low_resolution_epochs) == (6, 4)  # of 12 and 8
