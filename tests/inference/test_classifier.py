from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from fer_pipeline.errors import ImageError, ModelError
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256


def flat(gray: int, count: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((count, 48, 48, 1), gray, np.uint8)


def test_logits_are_those_of_the_network(brightness_model: Path) -> None:
    logits = EmotionClassifier.load(brightness_model).logits(np.concatenate([flat(20), flat(125)]))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [[0, -3.5, -7, -10.5, -14, -17.5, -21], [-10.5, -7, -3.5, 0, -3.5, -7, -10.5]], atol=1e-5)


def test_probabilities_are_the_softmax_over_the_temperature(brightness_model: Path) -> None:
    found = EmotionClassifier.load(brightness_model).probabilities(flat(125))
    powers = np.exp(np.array([-10.5, -7, -3.5, 0, -3.5, -7, -10.5]) / 2)
    np.testing.assert_allclose(found, [powers / powers.sum()], rtol=1e-5)


@pytest.mark.parametrize("label", range(7))
def test_columns_stand_in_the_order_of_the_labels(brightness_model: Path, label: int) -> None:
    found = EmotionClassifier.load(brightness_model).probabilities(flat(20 + 35 * label))
    assert EMOTIONS[int(found.argmax())] == EMOTIONS[label]


def test_no_faces_have_no_rows(brightness_model: Path) -> None:
    classifier = EmotionClassifier.load(brightness_model)
    assert classifier.logits(flat(0, 0)).shape == (0, 7)
    assert classifier.probabilities(flat(0, 0)).shape == (0, 7)


def test_more_faces_than_one_run_takes_keep_their_order(brightness_model: Path) -> None:
    grays = np.arange(300) % 256
    inputs = np.broadcast_to(grays[:, None, None, None], (300, 48, 48, 1)).astype(np.uint8)
    found = EmotionClassifier.load(brightness_model).logits(inputs)
    np.testing.assert_allclose(found[:, 0], -np.abs(grays - 20) / 10, atol=1e-5)


@pytest.mark.parametrize(
    "inputs", [np.zeros((1, 48, 48, 1), np.float32), np.zeros((48, 48, 1), np.uint8), np.zeros((1, 48, 48, 3), np.uint8)]
)
def test_other_inputs_are_refused(brightness_model: Path, inputs: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    with pytest.raises(ImageError, match="expected uint8"):
        EmotionClassifier.load(brightness_model).logits(inputs)


def test_a_folder_without_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no exported model"):
        EmotionClassifier.load(tmp_path)


def test_a_changed_network_is_an_error(brightness_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    with (folder / MODEL_FILE).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ModelError, match="changed or damaged"):
        EmotionClassifier.load(folder)


def replace_network(source: Path, folder: Path, content: bytes) -> None:
    shutil.copytree(source, folder)
    (folder / MODEL_FILE).write_bytes(content)
    dataclasses.replace(ModelInfo.read(source), sha256=file_sha256(folder / MODEL_FILE)).write(folder)


def test_a_file_that_is_no_network_is_an_error(brightness_model: Path, tmp_path: Path) -> None:
    replace_network(brightness_model, tmp_path / "model", b"no network")
    with pytest.raises(ModelError, match="not a network that onnxruntime can read"):
        EmotionClassifier.load(tmp_path / "model")


def test_a_network_with_other_names_is_an_error(brightness_model: Path, tmp_path: Path) -> None:
    network = onnx.load(brightness_model / MODEL_FILE)
    network.graph.output[0].name = network.graph.node[-1].output[0] = "Identity:0"
    replace_network(brightness_model, tmp_path / "model", network.SerializeToString())
    with pytest.raises(ModelError, match="Identity:0"):
        EmotionClassifier.load(tmp_path / "model")
