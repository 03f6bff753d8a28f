"""A client of the brightness model, and models that answer otherwise than it or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fastapi.testclient import TestClient
from onnx import numpy_helper

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from tests.serving.asking import client_of


def remade(model: Path, target: Path, name: str, constants: dict[str, Any]) -> Path:
    """A copy of the brightness model with other constants."""
    target.mkdir()
    network = onnx.load(model / MODEL_FILE)
    for tensor in network.graph.initializer:
        if tensor.name in constants:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(constants[tensor.name], np.float32), tensor.name))
    onnx.save(network, target / MODEL_FILE)
    info = ModelInfo.read(model)
    dataclasses.replace(info, network=name, sha256=file_sha256(target / MODEL_FILE)).write(target)
    return target


@pytest.fixture
def client(brightness_model: Path) -> TestClient:
    """A client of the app with the brightness model."""
    return client_of(Recognizer.load(brightness_model))


@pytest.fixture
def mirrored(brightness_model: Path, tmp_path: Path) -> Path:
    """A model that answers class 6 - i where the brightness model answers i; for 125 both say happy, for 20 angry and neutral."""
    return remade(brightness_model, tmp_path / "mirrored", "mirrored", {"centres": np.arange(230, 19, -35)})


@pytest.fixture
def broken(brightness_model: Path, tmp_path: Path) -> Path:
    """A model with correct hash and signature that answers not-a-number."""
    return remade(brightness_model, tmp_path / "broken", "broken", {"scale": np.nan})
