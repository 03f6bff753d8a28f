"""The baseline on pictures that logistic regression tells apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fer_pipeline import params as params_file
from fer_pipeline.baseline import Baseline, baseline_and_track
from fer_pipeline.datasets import logistic
from fer_pipeline.datasets.hog import FEATURES, hog
from fer_pipeline.datasets.logistic import REGULARISATIONS, HogLogistic
from fer_pipeline.datasets.spark import spark_session
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.modeling import tracking
from fer_pipeline.outputs import write_json
from fer_pipeline.records import PROCESSED, SPLITS
from fer_pipeline.stages import HASHES_FILE

PARAMS = Path(__file__).parents[1] / "params.yaml"
MASTER = "local[2]"


def striped(label: int, noise: np.random.Generator) -> UInt8Array:
    """Stripes whose direction is that of the label, 180 / 7 degrees apart."""
    y, x = np.mgrid[0:48, 0:48]
    angle = np.pi * label / len(EMOTIONS)
    waves = 128 + 60 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.7 + noise.uniform(0, 6))
    return np.asarray(np.clip(waves + noise.normal(0, 10, (48, 48)), 0, 255), np.uint8)


def processed_table(folder: Path, labels: range = range(7)) -> None:
    noise = np.random.default_rng(0)
    flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
    values = {
        "content_hash": "h",
        "perceptual_hash": "p",
        "copies": 1,
        "copy_rank": 0,
        "brightness": 1,
        "contrast": 1,
        "name": "x",
    }
    cases = [(split, label) for split in SPLITS for label in labels for _ in range(8)]
    rows = [
        {**flags, **values, "id": f"{n:08d}", "row": n, "split": split, "label": label, "image": striped(label, noise).tobytes()}
        for n, (split, label) in enumerate(cases)
    ]
    (folder / "faces").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=PROCESSED), folder / "faces" / "part-00000.parquet")
    write_json(folder / "facts.json", {"source": {"name": "stripes", "synthetic": True}, "image_spec": {}})


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with spark_session(MASTER) as session:
        yield session


def small_params() -> params_file.Params:
    everything = params_file.load(PARAMS)
    preprocess = everything.preprocess.model_copy(update={"master": MASTER})
    return everything.model_copy(update={"preprocess": preprocess})


def test_a_face_has_900_features_that_do_not_depend_on_its_brightness() -> None:
    face = striped(2, np.random.default_rng(0))
    features = hog(np.stack([face, face // 2 + 60])[..., np.newaxis])
    assert features.shape == (2, FEATURES)
    assert np.abs(features[0] - features[1]).mean() < 0.02
    assert 0 <= features.min() < features.max() <= 1


def test_logits_are_those_of_the_weights() -> None:
    face = striped(1, np.random.default_rng(1))[np.newaxis, ..., np.newaxis]
    weights = np.random.default_rng(2).normal(size=(7, FEATURES))
    model = HogLogistic(weights, np.arange(7.0), 0.1, {0.1: 1.0})
    expected = hog(face)[0].astype(np.float64) @ weights.T + np.arange(7)
    np.testing.assert_allclose(model.predict(np.repeat(face, 3, axis=0)), [expected] * 3, rtol=1e-4)


def test_the_baseline_is_measured_as_networks_are_and_stands_beside_them(
    spark: SparkSession, tracking_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setattr(logistic, "_ITERATIONS", 15)  # stripes are learned at once, each iteration is a Spark job
    processed_table(tmp_path / "processed")
    metrics = baseline_and_track(tmp_path / "processed", tmp_path / "out", small_params())
    assert metrics["accuracy"] > 0.95
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert {f"recall_{name}" for name in EMOTIONS} | {"macro_f1", "macro_f1_low", "ece", "rows"} <= set(metrics)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    description = json.loads((tmp_path / "out" / "baseline.json").read_text())
    assert set(description["tried"]) == {str(penalty) for penalty in REGULARISATIONS}
    # What Spark counted on validation is what the weights give outside of it.
    assert metrics["validation_accuracy"] == pytest.approx(max(description["tried"].values()))
    with np.load(tmp_path / "out" / "weights.npz", allow_pickle=False) as stored:
        assert stored["weights"].shape == (7, FEATURES)
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("fer").experiment_id], "tags.baseline = 'true'")
    assert (run.info.status, run.data.tags["network"]) == ("FINISHED", "hog-logistic")
    assert tracking.read_lines(run.info.run_id, "training", HASHES_FILE) == ["h"] * 56
    fitted = Baseline.read(tmp_path / "out")
    assert fitted.run_id == run.info.run_id
    np.testing.assert_allclose(fitted.probabilities(striped(1, np.random.default_rng(1))[None, ..., None]).sum(), 1.0)
    assert run.data.metrics["test_accuracy"] == pytest.approx(metrics["accuracy"])


def test_a_training_split_without_one_class_is_told_and_the_run_failed(
    spark: SparkSession, tracking_store: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    processed_table(tmp_path / "processed", range(6))
    with pytest.raises(DataQualityError, match="train lacks \\['neutral'\\]"):
        baseline_and_track(tmp_path / "processed", tmp_path / "out", small_params())
    assert not (tmp_path / "out").exists()
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("fer").experiment_id])
    assert run.info.status == "FAILED"


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="fer preprocess"):
        baseline_and_track(tmp_path, tmp_path / "out", small_params())
