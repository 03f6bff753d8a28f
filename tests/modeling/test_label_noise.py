from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from fer_pipeline.analysis.label_noise import out_of_fold
from fer_pipeline.analysis.label_noise.confident_learning import find_noise
from fer_pipeline.analysis.label_noise.folds import grouped_folds, join_groups, read_groups
from fer_pipeline.analysis.label_noise.out_of_fold import OutOfFold, predict_out_of_fold
from fer_pipeline.analysis.label_noise.report import check_votes, write_noise
from fer_pipeline.cli.app import app
from fer_pipeline.config import params
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import with_soft_labels
from fer_pipeline.errors import DataQualityError, SourceError

ROWS = 84
RECIPE = TrainParams(network="plain_cnn", epochs=1, batch_size=28, lr=0.02)


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture
def processed(tmp_path: Path, make_processed: Callable[..., Path]) -> Path:
    """84 training rows: each has its own hash, but for rows 0 to 9, which are copies, and row 83, an augmented copy of row 82."""
    folder = make_processed(tmp_path / "processed", {"train": ROWS, "validation": 28, "test": 28})
    file = folder / "faces" / "part-0.parquet"
    table = pq.read_table(file)
    values = {
        "perceptual_hash": ["0" * 16 if row < 10 else f"{row:016x}" for row in range(ROWS)],
        "row": [*range(83), 82],
        "augmented": [*[False] * 83, True],
    }
    for name, column in values.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(column, table.schema.field(name).type))
    pq.write_table(table, file)
    return folder


def known(labels: list[int], probabilities: list[dict[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.zeros((len(labels), 7))
    for row, some in enumerate(probabilities):
        for label, probability in some.items():
            table[row, label] = probability
    return np.array(labels), table


def test_a_label_is_suspicious_where_another_class_passes_its_threshold() -> None:
    labels, probabilities = known(
        [0, 0, 0, 3, 3, 3],
        [{0: 0.9, 3: 0.1}, {0: 0.8, 3: 0.2}, {0: 0.1, 3: 0.9}, {3: 0.7, 0: 0.3}, {3: 0.5, 0: 0.5}, {3: 0.6, 4: 0.4}],
    )
    noise = find_noise(labels, probabilities)
    np.testing.assert_allclose(noise.thresholds[[0, 3]], [0.6, 0.6])
    assert noise.thresholds[4] == np.inf  # no row has this label
    assert noise.suspicious.tolist() == [False, False, True, False, False, False]
    assert noise.suggested.tolist() == [0, 0, 3, 3, 3, 3]
    assert noise.confident[0, [0, 3]].tolist() == [2, 1]
    assert noise.confident[3, 3] == 2  # row 4 passes no threshold and is not counted
    np.testing.assert_allclose(noise.joint[0, [0, 3]], [1 / 3, 1 / 6])
    assert noise.joint.sum() == pytest.approx(1)
    assert noise.share == pytest.approx(1 / 6)
    np.testing.assert_allclose(noise.rates[0, [0, 3]], [2 / 3, 1 / 3])
    np.testing.assert_allclose(noise.margin, [0.8, 0.6, -0.8, 0.4, 0.0, 0.2])
    assert noise.ranking.tolist() == [2]


def test_the_estimate_finds_the_noise_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(7, size=7000)
    labels = np.where(rng.random(7000) < 0.2, (true + 1) % 7, true)
    probabilities = rng.dirichlet(np.ones(7), 7000) * 0.3
    probabilities[np.arange(7000), true] += 0.7
    noise = find_noise(labels, probabilities)
    assert noise.share == pytest.approx((labels != true).mean(), abs=0.01)
    found = noise.suspicious & (noise.suggested == true)
    assert found.sum() / (labels != true).sum() > 0.95
    assert (noise.suspicious & (labels == true)).mean() < 0.01


def test_rows_that_share_any_value_are_one_group_also_by_way_of_others() -> None:
    groups = join_groups([np.array(["a", "a", "b", "c", "d"]), np.array([1, 2, 2, 3, 4])])
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_folds_keep_groups_whole_and_spread_the_classes(processed: Path) -> None:
    groups, copies = read_groups(ProcessedTable.open(processed), "train")
    assert copies == {"00000083"}
    assert len({groups[f"{row:08d}"] for row in range(10)}) == 1
    assert groups["00000082"] == groups["00000083"]
    labels = ProcessedTable.open(processed).split("train").labels
    numbers = np.array(list(groups.values()))
    folds = grouped_folds(labels, numbers, 3, seed=0)
    assert all(len(set(folds[numbers == number].tolist())) == 1 for number in numbers)
    assert np.bincount(folds).min() > 20
    assert not np.array_equal(folds, grouped_folds(labels, numbers, 3, seed=1))
    with pytest.raises(DataQualityError, match="2 groups of duplicates, too few for 3 folds"):
        grouped_folds(labels[:4], np.array([0, 0, 1, 1]), 3, seed=0)


def test_a_killed_analysis_keeps_its_finished_folds_and_no_model_sees_what_it_judges(
    processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def predictions(faces: FaceDataset, wrong: list[int]) -> OutOfFold:
    """Sure and right, but for the rows in `wrong`, where the next class is named; the last row is an augmented copy."""
    named = faces.labels.copy()
    named[wrong] = (named[wrong] + 1) % 7
    probabilities = np.full((len(faces), 7), 0.01)
    probabilities[np.arange(len(faces)), named] = 0.94
    augmented = np.arange(len(faces)) == len(faces) - 1
    facts = {
        "network": "plain_cnn", "profile": "smoke", "epochs": 1, "folds": 2, "seed": 0, "train_seed": 0, "votes_used": False,
        "data": "stripes", "synthetic": True, "accuracy": 0.9, "per_fold": [],
    }  # fmt: skip
    return OutOfFold(faces.ids, faces.labels, np.zeros(len(faces), np.int64), augmented, probabilities, facts)


def test_the_page_shows_suspicious_pictures_by_pair_and_the_table_names_all(
    make_stripes: Callable[..., FaceDataset], tmp_path: Path
) -> None:
    faces = make_stripes(140, 0)
    wrong = [3, 50, 139]
    noise, check = write_noise(tmp_path / "noise", faces, predictions(faces, wrong))
    assert check is None
    assert np.flatnonzero(noise.suspicious).tolist() == [3, 50]  # the augmented copy is left out
    with (tmp_path / "noise" / "suspicious.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["id"] for row in rows) == ["00000003", "00000050"]
    page = (tmp_path / "noise" / "report.html").read_text()
    assert page.count("data:image/png") == 2
    for words in (f"{rows[0]['given']}, suggested {rows[0]['suggested']}", "Synthetic faces", "no FER+ votes"):
        assert words in page
    figures = json.loads((tmp_path / "noise" / "noise.json").read_text())
    assert figures["suspicious"] == 2
    assert figures["noise_share"] == pytest.approx(noise.share)


def test_votes_tell_whether_suspicions_are_right(make_stripes: Callable[..., FaceDataset], tmp_path: Path) -> None:
    faces = make_stripes(140, 0)
    columns = np.array([4, 5, 6, 1, 3, 2, 0])  # of angry, disgust, ... among the vote columns
    votes = np.zeros((140, 10), np.float32)
    believed = faces.labels.copy()
    believed[3] = (believed[3] + 1) % 7  # the votes name what the model suggests
    believed[7] = (believed[7] + 2) % 7  # a wrong label that the model does not doubt
    votes[np.arange(140), columns[believed]] = 9
    votes[9] = np.nan
    votes[10] = [5, 5, *[0] * 8]  # no majority
    voted = replace(faces, votes=votes)
    noise, check = write_noise(tmp_path / "noise", voted, predictions(voted, [3, 50]))
    assert check is not None
    assert check == check_votes(voted.rows(np.arange(139)), noise)
    assert (check.suspicious.rows, check.suspicious.given, check.suspicious.suggested) == (2, 0.5, 0.5)
    assert check.others.rows == 136
    assert check.others.given == pytest.approx(134 / 136)
    assert 0.5 < check.auc < 1
    assert "votes confirm the given label" in (tmp_path / "noise" / "report.html").read_text()


def test_predictions_for_other_rows_are_refused(make_stripes: Callable[..., FaceDataset], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="belong to other training rows: run `fer label-noise` again"):
        write_noise(tmp_path / "noise", make_stripes(70, 1), predictions(make_stripes(70, 0), []))


def test_one_command_makes_the_recipe_in_use_train_with_softened_labels(
    processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
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
    train = params.load(Path("params.yaml")).train
    assert train.soft_label_weight == 0.3
    softened = with_soft_labels(
        ProcessedTable.open(processed).split("train"), tmp_path / "data" / "soft_labels", train.soft_labels_hash
    )
    np.testing.assert_array_equal(softened.soft_labels, predicted.probabilities.astype(np.float32))
    assert softened.rows(np.array([3, 5])).soft_labels is None  # a fold is trained on the given labels
    assert (tmp_path / "data" / "soft_labels.dvc").is_file()
    assert (asked[0].epochs, asked[0].low_resolution_epochs) == (6, 4)  # of 12 and 8
