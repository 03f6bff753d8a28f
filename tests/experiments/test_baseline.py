"""The baseline on pictures that logistic regression tells apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fer_pipeline.config.params import Params, load_params
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.synthetic.generator import draw_faces
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.experiments import registry, runs
from fer_pipeline.experiments.baseline import baseline_and_track
from fer_pipeline.experiments.exports import local_export, training_images
from fer_pipeline.imaging import ImageSpec, UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.pretrained import pretrained_folder
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo
from fer_pipeline.models.baseline import logistic
from fer_pipeline.models.baseline.hog import FEATURES, hog, hog_logistic
from fer_pipeline.models.baseline.logistic import REGULARISATIONS
from fer_pipeline.models.onnx_graph import merge
from fer_pipeline.schemas import PROCESSED, SPLITS
from fer_pipeline.workspace.files import write_json

PARAMS = Path(__file__).parents[2] / "params.yaml"
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
        "content_hash": "b" * 32,
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
    write_json(
        folder / "facts.json", {"source": {"name": "stripes", "synthetic": True}, "image_spec": ImageSpec().table_values()}
    )


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with spark_session(MASTER) as session:
        yield session


def small_params() -> Params:
    everything = load_params(PARAMS)
    preprocess = everything.preprocess.model_copy(update={"spark_master": MASTER})
    return everything.model_copy(update={"preprocess": preprocess})


def test_the_900_features_do_not_depend_on_brightness() -> None:
    """A face has 900 features that do not depend on its brightness."""
    face = striped(2, np.random.default_rng(0))
    features = hog(np.stack([face, face // 2 + 60])[..., np.newaxis])
    assert features.shape == (2, FEATURES)
    assert np.abs(features[0] - features[1]).mean() < 0.02
    assert 0 <= features.min() < features.max() <= 1


def opencv_hog(images: UInt8Array) -> npt.NDArray[np.float32]:
    """The same features by OpenCV, in the order of `hog`."""
    descriptor = cv2.HOGDescriptor((48, 48), (16, 16), (8, 8), (8, 8), 9)
    found = np.stack([np.asarray(descriptor.compute(image)) for image in images])
    columns_first = found.reshape(-1, 5, 5, 2, 2, 9)  # block column, block row, cell column, cell row, bin
    bins_first = np.roll(columns_first, 4, axis=-1).transpose(0, 5, 2, 4, 1, 3)  # OpenCV's bins begin at 0 degrees, these at -90
    return bins_first.reshape(-1, FEATURES)


def pictures(kind: str) -> UInt8Array:
    noise = np.random.default_rng(0)
    match kind:
        case "noise":
            return noise.integers(0, 256, (40, 48, 48, 1), np.uint8)
        case "flat":
            return np.stack([np.full((48, 48, 1), level, np.uint8) for level in (0, 7, 255)])
        case "stripes":
            return np.stack([striped(label, noise)[..., np.newaxis] for label in range(7)])
        case "edges":
            y, x = np.mgrid[0:48, 0:48]
            lines = (x > 20, x < 20, y > 30, y < 30, x > y, x + y > 47)
            return np.stack([np.where(line, 255, 0).astype(np.uint8)[..., np.newaxis] for line in lines])
        case _:
            return draw_faces(40, 3)[0][..., np.newaxis]


@pytest.mark.parametrize("kind", ["noise", "flat", "stripes", "edges", "faces"])
def test_the_features_are_those_of_opencv(kind: str) -> None:
    images = pictures(kind)
    np.testing.assert_allclose(hog(images), opencv_hog(images), atol=1e-3)


def test_logits_are_those_of_the_weights() -> None:
    images = pictures("faces")
    weights = np.random.default_rng(2).normal(size=(7, FEATURES))
    network = onnxruntime.InferenceSession(hog_logistic(weights, np.arange(7.0)).SerializeToString())
    (found,) = network.run(None, {"image": images})
    np.testing.assert_allclose(found, hog(images).astype(np.float64) @ weights.T + np.arange(7), atol=1e-4)


def test_the_baseline_can_join_an_ensemble(tmp_path: Path) -> None:
    onnx.save(hog_logistic(np.zeros((7, FEATURES)), np.zeros(7)), tmp_path / "baseline.onnx")
    merge([(tmp_path / "baseline.onnx", 1.0), (pretrained_folder("fast") / MODEL_FILE, 1.0)], tmp_path / "merged.onnx")
    network = onnxruntime.InferenceSession(tmp_path / "merged.onnx")
    assert network.run(None, {"image": np.zeros((2, 48, 48, 1), np.uint8)})[0].shape == (2, 7)


def test_the_baseline_is_registered_but_no_challenger(
    spark: SparkSession, tracking_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline is exported measured and registered as networks are but is no challenger."""
    monkeypatch.setattr(logistic, "_ITERATIONS", 15)  # stripes are learned at once, each iteration is a Spark job
    processed_table(tmp_path / "processed")
    info, version = baseline_and_track(tmp_path / "processed", tmp_path / "out", small_params())
    metrics = info.metrics
    assert metrics["accuracy"] > 0.95
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert {f"recall_{name}" for name in EMOTIONS} | {"macro_f1", "macro_f1_low", "ece", "rows"} <= set(metrics)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert ModelInfo.read(tmp_path / "out") == ModelInfo.read(local_export(version)) == info
    assert registry.aliases("fer") == {"baseline": version.number}
    assert registry.find("fer", "baseline") == version
    tags = {name: version.tags[name] for name in ("network", "data", "synthetic", "run_id")}
    assert tags == {"network": "hog-logistic", "data": "stripes", "synthetic": "true", "run_id": version.run_id}
    run = runs.read_run(version.run_id)
    assert (run.status, run.tags["network"]) == ("FINISHED", "hog-logistic")
    assert run.metrics["test/accuracy"] == pytest.approx(metrics["accuracy"])
    tried = {penalty: run.metrics[f"validation/accuracy_regularisation_{penalty:g}"] for penalty in REGULARISATIONS}
    assert tried[float(info.lineage["regularisation"])] == max(tried.values())
    # What Spark counted on validation is what the exported network answers.
    assert metrics["validation_accuracy"] == pytest.approx(max(tried.values()))
    learned = training_images(version)
    assert learned is not None
    assert learned.tolist() == [int("b" * 16, 16)]
    face = striped(1, np.random.default_rng(1))[np.newaxis, ..., np.newaxis]
    assert EmotionClassifier.load(tmp_path / "out").probabilities(face).argmax() == 1


def test_a_training_split_without_one_class_fails_the_run(spark: SparkSession, tracking_store: Path, tmp_path: Path) -> None:
    """A training split without one class is told and the run failed."""
    processed_table(tmp_path / "processed", range(6))
    with pytest.raises(DataQualityError, match="train lacks \\['neutral'\\]"):
        baseline_and_track(tmp_path / "processed", tmp_path / "out", small_params())
    assert not (tmp_path / "out").exists()
    (run,) = runs.recent_runs(2)
    assert run.status == "FAILED"
    assert registry.versions("fer") == []


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="fer preprocess"):
        baseline_and_track(tmp_path, tmp_path / "out", small_params())
