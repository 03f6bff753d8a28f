"""The registered model, as MLflow alone loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from fer_pipeline.errors import ImageError
from fer_pipeline.experiments import registry, runs
from fer_pipeline.experiments.registered.packaging import REQUIREMENTS
from fer_pipeline.imaging import ImageSpec, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

SPEC = ImageSpec(denoise="median", contrast="clahe")


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Three RGB pictures of another size than the network takes."""
    return np.random.default_rng(0).integers(0, 256, (3, 60, 70, 3), np.uint8)


@pytest.fixture
def registered_once(tracking_store: Path, brightness_model: Path) -> EmotionClassifier:
    """The classifier of a version with a temperature and an image treatment of its own; it is the challenger."""
    export = tracking_store.parent / "export"
    export.mkdir()
    for file in brightness_model.iterdir():
        (export / file.name).write_bytes(file.read_bytes())
    info = replace(ModelInfo.read(export), temperature=2.5, image_spec=SPEC, metrics={"accuracy": 0.684, "ece": 0.02})
    info.write(export)
    registry.register(export, info, "fer", runs.ensure_run(None, "tiny", {}), {})
    return EmotionClassifier.load(export)


def test_a_registered_model_answers_as_it_is_served(registered_once: EmotionClassifier, faces: np.ndarray) -> None:
    """Probabilities by label, calibrated, after the image treatment of its spec; what it cannot read is refused."""
    model = mlflow.pyfunc.load_model("models:/fer@challenger")
    expected = registered_once.probabilities(np.stack([to_model_input(face, SPEC) for face in faces]))
    found = model.predict(faces)
    assert list(found.columns) == list(EMOTIONS)
    np.testing.assert_allclose(found.to_numpy(), expected)
    gray = model.predict(np.full((2, 48, 48, 1), 90, np.uint8))
    assert gray.shape == (2, 7)
    assert model.predict(faces[:0]).shape == (0, 7)
    for wrong in (faces / 255, faces[0], faces.astype(np.int64)):
        with pytest.raises(MlflowException, match=r"does not match"):
            model.predict(wrong)
    with pytest.raises(ImageError, match=r"faces are uint8 \(3, 60, 70, 2\), expected uint8 \(N, height, width, 1\) in gray"):
        model.predict(faces[..., :2])


def test_a_registered_model_says_what_it_is(registered_once: EmotionClassifier) -> None:
    """Labels, temperature, image spec, an input example, a minimal environment, and no pickle."""
    model = mlflow.models.get_model_info("models:/fer@challenger")
    assert model.metadata is not None
    assert (model.metadata["labels"], model.metadata["temperature"]) == (list(EMOTIONS), 2.5)
    assert ImageSpec.from_dict(model.metadata["image_spec"]) == SPEC
    assert model.signature.outputs.input_names() == list(EMOTIONS)
    folder = Path(mlflow.artifacts.download_artifacts("models:/fer@challenger"))
    assert np.shape(json.loads((folder / "input_example.json").read_text())) == (1, 48, 48, 1)
    required = {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()}
    assert required == {*REQUIREMENTS, "mlflow"}
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_a_registered_model_needs_no_package(registered_once: EmotionClassifier, faces: np.ndarray, tmp_path: Path) -> None:
    """A fresh process without fer_pipeline, and with pickles forbidden, gives the same answer."""
    np.save(tmp_path / "faces.npy", faces)
    code = (
        "import sys; sys.path = [path for path in sys.path if path != sys.argv[1]]; import importlib.util, mlflow, numpy;"
        "assert importlib.util.find_spec('fer_pipeline') is None;"
        "print(mlflow.pyfunc.load_model('models:/fer@challenger').predict(numpy.load('faces.npy')).to_json(orient='values'));"
        "print(sys.modules['fer_pipeline'].__file__)"
    )
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", code, root], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer, place = done.stdout.splitlines()
    expected = registered_once.probabilities(np.stack([to_model_input(face, SPEC) for face in faces]))
    np.testing.assert_allclose(json.loads(answer), expected, atol=1e-9)
    assert "/artifacts/code/" in place


def test_a_version_is_described(registered_once: EmotionClassifier) -> None:
    version = mlflow.MlflowClient().get_model_version_by_alias("fer", registry.CHALLENGER)
    for words in (
        "**What**: network",
        "run [tiny](#/experiments/",
        "68.4 % of the labels",
        "ECE 0.020",
        "real faces",
        "**Card**",
    ):
        assert words in version.description
    assert f"/models/{version.source.rpartition('/')[2]}/artifacts)" in version.description
