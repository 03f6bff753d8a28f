from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

from fer_pipeline.config.params import EvaluateParams, ExportParams
from fer_pipeline.config.training import AugmentParams, TrainParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import image_hashes
from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.evaluation.evaluate import evaluate
from fer_pipeline.evaluation.measure import measure
from fer_pipeline.evaluation.tta import TTA_VIEWS, tta_views
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.classification import softmax
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models.export import check_parity, export, to_onnx
from fer_pipeline.training.artifacts import read_history, read_model, read_training, write_model
from fer_pipeline.training.networks.zoo import build
from fer_pipeline.training.train import train


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, make_processed: Callable[..., Path]) -> Path:
    """A folder with processed/, model/ of a network that has learned a little, evaluation/, evaluation_tta/ (with the option)."""
    folder = tmp_path_factory.mktemp("work")
    processed = make_processed(folder / "processed", {"train": 210, "validation": 70, "test": 84})
    params = TrainParams(network="compact", epochs=5, batch_size=30, lr=0.05, augment=AugmentParams(flip=False))
    table = ProcessedTable.open(processed)
    result = train(table.split("train"), table.split("validation"), params, folder / "checkpoints")
    facts, learned = table.metadata, image_hashes(table.hashes("train").values())
    write_model(folder / "model", result, params, facts, learned, run_id=None)
    evaluate(folder / "model", processed, folder / "evaluation", EvaluateParams(bootstrap=200))
    with_tta = EvaluateParams(bootstrap=200, test_time_augmentation=True)
    evaluate(folder / "model", processed, folder / "evaluation_tta", with_tta)
    return folder


def test_metrics_are_flat_numbers_with_every_name_promised(work: Path) -> None:
    metrics = json.loads((work / "evaluation" / "metrics.json").read_text())
    names = {"accuracy", "macro_f1", "weighted_f1", "top2", "nll", "brier", "ece", "ece_uncalibrated", "validation_accuracy"}
    names |= {f"{figure}_{end}" for figure in ("accuracy", "macro_f1") for end in ("low", "high", "dedup")}
    names |= {f"{figure}_{emotion}" for figure in ("recall", "precision", "f1") for emotion in EMOTIONS}
    assert names <= metrics.keys()
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert (metrics["rows"], metrics["rows_dedup"]) == (84, 82)
    assert metrics["accuracy"] > 0.5  # it has learned: chance is 1/7
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]


def test_predictions_tables_and_metrics_tell_the_same_story(work: Path) -> None:
    folder = work / "evaluation"
    metrics = json.loads((folder / "metrics.json").read_text())
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


def test_calibration_never_makes_the_validation_likelihood_worse(work: Path) -> None:
    calibration = json.loads((work / "evaluation" / "calibration.json").read_text())
    assert calibration["fitted_on"] == "validation"
    assert calibration["temperature"] > 0
    assert calibration["nll_after"] <= calibration["nll_before"] + 1e-6


def test_the_report_asks_for_nothing_from_outside_and_says_that_the_model_is_synthetic(work: Path) -> None:
    page = (work / "evaluation" / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert not re.findall(r"https?://(?!www\.w3\.org)", page)
    assert "synthetic faces" in page
    assert "Worst mistakes" in page
    assert "used for the figures on this page and for nothing else" in " ".join(page.split())


def test_test_time_augmentation_adds_figures_and_changes_none_of_the_served_model(work: Path) -> None:
    plain, both = (json.loads((folder / "metrics.json").read_text()) for folder in (work / "evaluation", work / "evaluation_tta"))
    ends = [f"{rows}{end}" for rows in ("", "_dedup") for end in ("", "_low", "_high")]
    added = {f"{figure}_tta{end}" for figure in ("accuracy", "macro_f1") for end in ends} | {"ece_tta", "validation_accuracy_tta"}
    assert both.keys() - plain.keys() == added
    assert {name: both[name] for name in plain} == pytest.approx(plain, abs=1e-6)
    for name in ("calibration.json", "predictions.parquet", "confusion.csv"):
        assert (work / "evaluation_tta" / name).read_bytes() == (work / "evaluation" / name).read_bytes()

    faces = ProcessedTable.open(work / "processed").split("test")
    network = read_model(work / "model")
    mean = np.mean([network.predict(view, verbose=0) for view in tta_views(faces.images)], axis=0)
    assert both["accuracy_tta"] == pytest.approx((mean.argmax(axis=1) == faces.labels).mean())
    assert both["accuracy_tta"] != both["accuracy"]  # mirrored stripes belong to another class
    assert both["accuracy_tta_low"] < both["accuracy_tta"] < both["accuracy_tta_high"]
    assert 0 < both["ece_tta"] < 1
    assert "mean over ten views of the picture" in (work / "evaluation_tta" / "report.html").read_text()


def test_the_ten_views_are_five_places_each_also_mirrored_and_start_with_the_picture() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    seen = list(tta_views(pictures))
    assert len(seen) == TTA_VIEWS == 10
    np.testing.assert_array_equal(seen[0], pictures)
    np.testing.assert_array_equal(seen[1], pictures[:, :, ::-1])
    np.testing.assert_array_equal(seen[2][:, 2:, 2:], pictures[:, :-2, :-2])
    np.testing.assert_array_equal(seen[2][:, :2, :2], np.broadcast_to(pictures[:, :1, :1], (2, 2, 2, 1)))
    assert all(view.shape == pictures.shape and view.dtype == np.uint8 for view in seen)


def test_without_test_time_augmentation_nothing_speaks_of_it(work: Path) -> None:
    assert not [name for name in json.loads((work / "evaluation" / "metrics.json").read_text()) if "tta" in name]
    page = (work / "evaluation" / "report.html").read_text()
    assert "test-time augmentation" not in page
    assert "one pass over the plain picture, as in serving" in page
    calibration = json.loads((work / "evaluation" / "calibration.json").read_text())
    assert [name for name in calibration if "temperature" in name] == ["temperature"]


def test_recall_has_an_interval_with_width_where_all_or_none_are_found(work: Path) -> None:
    always_happy = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(7)])
    index = EMOTIONS.index("happy")
    always_happy.layers[-1].set_weights([np.zeros((48 * 48, 7), np.float32), 5 * np.eye(7, dtype=np.float32)[index]])
    validation, test = (ProcessedTable.open(work / "processed").split(split) for split in ("validation", "test"))
    test = replace(test, labels=np.where(test.labels == EMOTIONS.index("sad"), index, test.labels))
    training, history = read_training(work / "model"), read_history(work / "model")
    evaluation = measure(
        partial(always_happy.predict, verbose=0), validation, test, EvaluateParams(bootstrap=100), training, history
    )
    assert evaluation.recalls["sad"] is None
    for name, share in (("happy", 1.0), ("fear", 0.0)):
        recall = evaluation.recalls[name]
        rows = int((test.labels == EMOTIONS.index(name)).sum())
        assert recall == share_interval(int(share) * rows, rows)
        assert recall.estimate == share
        assert recall.high - recall.low > 0.1


def test_a_model_of_other_pictures_is_refused_and_the_old_report_stays(work: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in (work / "model").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    training = json.loads((model / "training.json").read_text())
    training["image_spec"]["contrast"] = "clahe"
    (model / "training.json").write_text(json.dumps(training))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(ModelError, match="image spec"):
        evaluate(model, work / "processed", tmp_path / "out", EvaluateParams(bootstrap=100))
    assert (tmp_path / "out" / "old").exists()


def test_a_missing_or_damaged_model_says_what_to_do(work: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fer train"):
        evaluate(tmp_path / "nothing", work / "processed", tmp_path / "out", EvaluateParams(bootstrap=100))
    model = tmp_path / "model"
    model.mkdir()
    (model / "training.json").write_bytes((work / "model" / "training.json").read_bytes())
    (model / "model.keras").write_bytes(b"no zip")
    with pytest.raises(ModelError, match=r"model\.keras cannot be loaded"):
        evaluate(model, work / "processed", tmp_path / "out", EvaluateParams(bootstrap=100))


@pytest.mark.parametrize("evaluation", ["evaluation", "evaluation_tta"])
def test_the_exported_model_answers_like_the_report(evaluation: str, work: Path, tmp_path: Path) -> None:
    lineage = {"run_id": "none"}
    written = export(work / "processed", work / "model", work / evaluation, tmp_path / "export", ExportParams(), lineage)
    info = ModelInfo.read(tmp_path / "export")
    assert info == written
    assert info.synthetic
    assert info.lineage == lineage
    assert (tmp_path / "export" / "model.keras").read_bytes() == (work / "model" / "model.keras").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "export" / "model.onnx"), providers=["CPUExecutionProvider"])
    faces = ProcessedTable.open(work / "processed").split("test")
    (logits,) = session.run(["logits"], {"image": faces.images})
    table = pq.read_table(work / evaluation / "predictions.parquet")
    assert table["id"].to_pylist() == faces.ids.tolist()
    reported = np.stack([table[name].to_numpy() for name in EMOTIONS], axis=1)
    np.testing.assert_allclose(softmax(logits, info.temperature), reported, atol=1e-4)
    assert (logits.argmax(axis=1) == faces.labels).mean() == pytest.approx(info.metrics["accuracy"])


@pytest.mark.parametrize(
    "network", ["mini_xception", "transfer:MobileNetV3Small", pytest.param("se_resnet18", marks=pytest.mark.slow)]
)
def test_every_network_exports_with_equal_logits(network: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build(TrainParams(network=network))
    to_onnx(model, tmp_path / "m.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    assert check_parity(model, tmp_path / "m.onnx", images, 1e-4) <= 1e-4


def test_an_onnx_model_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    to_onnx(build(TrainParams(network="mini_xception")), tmp_path / "m.onnx")
    other = build(TrainParams(network="mini_xception"))
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    with pytest.raises(ModelError, match="differ by"):
        check_parity(other, tmp_path / "m.onnx", images, 1e-4)


def test_export_on_another_backend_says_which_one_it_needs(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(ToolUnavailableError, match="KERAS_BACKEND=tensorflow"):
        export(work / "processed", work / "model", work / "evaluation", tmp_path / "export", ExportParams(), {})
