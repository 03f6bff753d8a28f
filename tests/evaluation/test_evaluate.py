"""The evaluate stage: files, metrics, calibration, report, refusals."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.evaluate import evaluate
from fer_pipeline.evaluation.stored_metrics import DECIDING, read_metrics
from fer_pipeline.evaluation.tta import tta_views
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.training.artifacts import read_model


def test_metrics_are_flat_numbers_with_every_name_promised(evaluated: Path) -> None:
    metrics = read_metrics(evaluated / "evaluation")
    names = {"accuracy", "macro_f1", "weighted_f1", "top2", "nll", "brier", "ece", "ece_uncalibrated", "validation_accuracy"}
    names |= {f"{figure}_{end}" for figure in ("accuracy", "macro_f1") for end in ("low", "high", "dedup")}
    names |= {f"{figure}_{emotion}" for figure in ("recall", "precision", "f1") for emotion in EMOTIONS}
    assert names <= metrics.keys()
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert (metrics["rows"], metrics["rows_dedup"]) == (84, 82)
    assert metrics["accuracy"] > 0.5  # it has learned: chance is 1/7
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]


def test_metrics_that_decide_lie_apart(evaluated: Path, tmp_path: Path) -> None:
    """What an earlier version wrote is one file, and read as such; a missing or damaged one says what to do."""
    deciding, more = (json.loads((evaluated / "evaluation" / name).read_text()) for name in ("metrics.json", "more_metrics.json"))
    assert tuple(deciding) == DECIDING[:6]  # these rows have no votes
    assert not deciding.keys() & more.keys()
    with pytest.raises(ModelError, match="run `fer evaluate` first"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps(deciding | more))
    assert read_metrics(tmp_path) == deciding | more == read_metrics(evaluated / "evaluation")
    (tmp_path / "more_metrics.json").write_text("[]")
    with pytest.raises(ModelError, match="holds no table of values"):
        read_metrics(tmp_path)


def test_predictions_tables_and_metrics_tell_the_same_story(evaluated: Path) -> None:
    folder = evaluated / "evaluation"
    metrics = read_metrics(folder)
    table = pq.read_table(folder / "predictions.parquet")
    assert table.column_names == ["id", "label", *EMOTIONS]
    probabilities = np.stack([table[name].to_numpy() for name in EMOTIONS], axis=1)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    right = probabilities.argmax(axis=1) == table["label"].to_numpy()
    assert right.mean() == pytest.approx(metrics["accuracy"])
    with (folder / "confusion.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 84
    assert sum(row["actual"] == row["predicted"] for row in rows) == right.sum()
    for name in ("roc.csv", "pr.csv", "reliability.csv"):
        assert len((folder / name).read_text().splitlines()) > 2
    assert sorted(path.stem for path in (folder / "figures").iterdir()) == [
        "confusion",
        "learning",
        "precision_recall",
        "reliability",
        "roc",
    ]


def test_calibration_never_makes_the_validation_likelihood_worse(evaluated: Path) -> None:
    calibration = json.loads((evaluated / "evaluation" / "calibration.json").read_text())
    assert calibration["fitted_on"] == "validation"
    assert calibration["temperature"] > 0
    assert calibration["nll_after"] <= calibration["nll_before"] + 1e-6


def test_report_is_self_contained_and_says_synthetic(evaluated: Path) -> None:
    """The report asks for nothing from outside and says that the model is synthetic."""
    page = (evaluated / "evaluation" / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert not re.findall(r"https?://(?!www\.w3\.org)", page)
    assert "synthetic faces" in page
    assert "Worst mistakes" in page
    assert "used for the figures on this page and for nothing else" in " ".join(page.split())


def test_tta_adds_metrics_and_changes_no_other(evaluated: Path) -> None:
    """Test time augmentation adds figures and changes none of the served model."""
    plain, both = (read_metrics(evaluated / name) for name in ("evaluation", "evaluation_tta"))
    ends = [f"{rows}{end}" for rows in ("", "_dedup") for end in ("", "_low", "_high")]
    added = {f"{figure}_tta{end}" for figure in ("accuracy", "macro_f1") for end in ends} | {"ece_tta", "validation_accuracy_tta"}
    assert both.keys() - plain.keys() == added
    assert {name: both[name] for name in plain} == pytest.approx(plain, abs=1e-6)
    for name in ("calibration.json", "predictions.parquet", "confusion.csv"):
        assert (evaluated / "evaluation_tta" / name).read_bytes() == (evaluated / "evaluation" / name).read_bytes()

    faces = ProcessedTable.open(evaluated / "processed").split("test")
    network = read_model(evaluated / "model")
    mean = np.mean([network.predict(view, verbose=0) for view in tta_views(faces.images)], axis=0)
    assert both["accuracy_tta"] == pytest.approx((mean.argmax(axis=1) == faces.labels).mean())
    assert both["accuracy_tta"] != both["accuracy"]  # mirrored stripes belong to another class
    assert both["accuracy_tta_low"] < both["accuracy_tta"] < both["accuracy_tta_high"]
    assert 0 < both["ece_tta"] < 1
    assert "mean over ten views of the picture" in (evaluated / "evaluation_tta" / "report.html").read_text()


def test_without_test_time_augmentation_nothing_speaks_of_it(evaluated: Path) -> None:
    assert not [name for name in read_metrics(evaluated / "evaluation") if "tta" in name]
    page = (evaluated / "evaluation" / "report.html").read_text()
    assert "test-time augmentation" not in page
    assert "one pass over the plain picture, as in serving" in page
    calibration = json.loads((evaluated / "evaluation" / "calibration.json").read_text())
    assert [name for name in calibration if "temperature" in name] == ["temperature"]


def test_model_of_other_image_spec_keeps_the_old_report(evaluated: Path, tmp_path: Path) -> None:
    """A model of other pictures is refused and the old report stays."""
    model = tmp_path / "model"
    model.mkdir()
    for path in (evaluated / "model").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    training = json.loads((model / "training.json").read_text())
    training["image_spec"]["contrast"] = "clahe"
    (model / "training.json").write_text(json.dumps(training))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(ModelError, match="image spec"):
        evaluate(model, evaluated / "processed", tmp_path / "out", EvaluateParams(bootstrap=100))
    assert (tmp_path / "out" / "old").exists()


def test_a_missing_or_damaged_model_says_what_to_do(evaluated: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fer train"):
        evaluate(tmp_path / "nothing", evaluated / "processed", tmp_path / "out", EvaluateParams(bootstrap=100))
    model = tmp_path / "model"
    model.mkdir()
    (model / "training.json").write_bytes((evaluated / "model" / "training.json").read_bytes())
    (model / "model.keras").write_bytes(b"no zip")
    with pytest.raises(ModelError, match=r"model\.keras cannot be loaded"):
        evaluate(model, evaluated / "processed", tmp_path / "out", EvaluateParams(bootstrap=100))
