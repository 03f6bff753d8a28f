from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

from fer_pipeline.errors import EnvironmentFault, ModelError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.modeling.evaluation import evaluate
from fer_pipeline.modeling.export import check_parity, export, to_onnx
from fer_pipeline.modeling.loading import load_facts, load_split
from fer_pipeline.modeling.metrics import softmax
from fer_pipeline.modeling.model_files import write_model
from fer_pipeline.modeling.networks import build
from fer_pipeline.modeling.training import train
from fer_pipeline.params import AugmentParams, EvaluateParams, ExportParams, TrainParams


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, make_processed: Callable[..., Path]) -> Path:
    """A folder with processed/, model/ and evaluation/ of a network that has learned a little."""
    folder = tmp_path_factory.mktemp("work")
    processed = make_processed(folder / "processed", {"train": 210, "validation": 70, "test": 84})
    params = TrainParams(network="compact", epochs=5, batch_size=30, lr=0.05, augment=AugmentParams(flip=False))
    result = train(load_split(processed, "train"), load_split(processed, "validation"), params, folder / "checkpoints")
    facts = load_facts(processed)
    write_model(folder / "model", result, params, facts, run_id=None, checkpoint_folder=folder / "checkpoints")
    evaluate(folder / "model", processed, folder / "evaluation", EvaluateParams(bootstrap=200))
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


def test_mirror_averaging_is_said_so_and_leaves_the_served_temperature_alone(work: Path, tmp_path: Path) -> None:
    evaluate(work / "model", work / "processed", tmp_path / "e", EvaluateParams(bootstrap=100, test_time_augmentation=True))
    plain = json.loads((work / "evaluation" / "calibration.json").read_text())
    averaged = json.loads((tmp_path / "e" / "calibration.json").read_text())
    assert averaged["temperature"] == pytest.approx(plain["temperature"], rel=1e-3)
    assert averaged["temperature_reported"] != averaged["temperature"]
    assert "mean over the picture and its mirror image" in (tmp_path / "e" / "report.html").read_text()


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


def test_the_exported_model_answers_like_the_report(work: Path, tmp_path: Path) -> None:
    lineage = {"run_id": "none"}
    written = export(work / "processed", work / "model", work / "evaluation", tmp_path / "export", ExportParams(), lineage)
    info = ModelInfo.read(tmp_path / "export")
    assert info == written
    assert info.synthetic
    assert info.lineage == lineage
    assert (tmp_path / "export" / "model.keras").read_bytes() == (work / "model" / "model.keras").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "export" / "model.onnx"), providers=["CPUExecutionProvider"])
    faces = load_split(work / "processed", "test")
    (logits,) = session.run(["logits"], {"image": faces.images})
    table = pq.read_table(work / "evaluation" / "predictions.parquet")
    assert table["id"].to_pylist() == faces.ids.tolist()
    reported = np.stack([table[name].to_numpy() for name in EMOTIONS], axis=1)
    np.testing.assert_allclose(softmax(logits, info.temperature), reported, atol=1e-4)


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
    with pytest.raises(EnvironmentFault, match="KERAS_BACKEND=tensorflow"):
        export(work / "processed", work / "model", work / "evaluation", tmp_path / "export", ExportParams(), {})
