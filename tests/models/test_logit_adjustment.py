"""Logit adjustment for rare classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models.logit_adjustment import adjust_logits, choose_adjustment
from fer_pipeline.models.onnx_graph import add_logit_offsets

SHARES = np.array([0.01, *[0.99 / 6] * 6])


def rare_is_hidden() -> tuple[np.ndarray, np.ndarray]:
    """Logits that hide class 0 behind class 1 by 1, and so need a strength of at least 1 / log(shares[1] / shares[0])."""
    labels = np.repeat(np.arange(7), 20)
    logits = 10.0 * np.eye(7)[labels]
    logits[labels == 0, 1] = 11.0
    return logits, labels


def test_the_least_strength_that_finds_the_rare_class_is_chosen() -> None:
    logits, labels = rare_is_hidden()
    found = choose_adjustment(logits, labels, SHARES, 0.01)
    assert found.strength == pytest.approx(np.ceil(20 / np.log(SHARES[1] / SHARES[0])) / 20)
    np.testing.assert_allclose(found.offsets, -found.strength * np.log(SHARES))
    assert ((logits + found.offsets).argmax(axis=1) == labels).all()


def test_strength_0_where_accuracy_would_fall_too_far() -> None:
    """Nothing is changed where it would cost more accuracy than allowed."""
    logits, labels = rare_is_hidden()
    many = np.repeat(np.array([[9.2, 10.0, 0, 0, 0, 0, 0]]), 40, axis=0)  # of class 1, lost before class 0 is found
    logits, labels = np.concatenate([logits, many]), np.concatenate([labels, np.ones(40, np.int64)])
    assert choose_adjustment(logits, labels, SHARES, 0.01).strength == 0


def test_stored_network_returns_adjusted_logits(brightness_model: Path, tmp_path: Path) -> None:
    """The stored network answers with scaled and shifted logits."""
    images = np.arange(0, 250, 25, dtype=np.uint8)[:, None, None, None] * np.ones((1, 48, 48, 1), np.uint8)
    before = EmotionClassifier.load(brightness_model).logits(images)
    folder = Path(shutil.copytree(brightness_model, tmp_path / "model"))
    offsets = np.linspace(-1, 1, 7)
    add_logit_offsets(brightness_model / "model.onnx", 2.0, offsets, folder / "model.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["logits"], {"image": images})[0], before / 2 + offsets, rtol=1e-5)
    (folder / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"broken.onnx cannot be read as ONNX"):
        add_logit_offsets(folder / "broken.onnx", 1.0, offsets, folder / "model.onnx")


def test_adjusted_model_is_measured_as_stored(
    make_processed: Callable[..., Path], brightness_model: Path, tmp_path: Path
) -> None:
    """The variant is an exported model measured as it is stored."""
    processed = make_processed(tmp_path / "processed", {"train": 56, "validation": 28, "test": 28})
    with pytest.raises(ModelError, match=r"was trained on real faces, .* holds generated ones"):
        adjust_logits(brightness_model, processed, tmp_path / "balanced", EvaluateParams(bootstrap=100), 0.01)
    model = Path(shutil.copytree(brightness_model, tmp_path / "model"))
    replace(ModelInfo.read(model), synthetic=True).write(model)
    write_training_images(model, image_hashes([]))
    made = adjust_logits(model, processed, tmp_path / "balanced", EvaluateParams(bootstrap=100), 1.0)
    stored = EmotionClassifier.load(tmp_path / "balanced")
    assert stored.info == made.info
    assert stored.info.lineage["balanced_from"] == ModelInfo.read(model).fingerprint
    test = ProcessedTable.open(processed).split("test")
    right = float((stored.logits(test.images).argmax(axis=1) == test.labels).mean())
    assert made.info.metrics["accuracy"] == pytest.approx(right)
    assert json.loads((tmp_path / "balanced" / "metrics.json").read_text()) == made.info.metrics
