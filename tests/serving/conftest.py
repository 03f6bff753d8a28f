"""Clients, models and videos that the tests of the service share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fastapi.testclient import TestClient
from onnx import numpy_helper

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import client_of
from tests.serving.filming import Service, video
from tests.serving.watching import place


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


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> bytes:
    return video(tmp_path_factory.mktemp("film"), drawn_face, 30)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> bytes:
    return video(tmp_path_factory.mktemp("film"), drawn_face, 1500)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "videos"


@pytest.fixture
def services(brightness_model: Path, root: Path, running_commands: Callable[[], list[str]]) -> Iterator[Any]:
    started: list[Service] = []

    def start(limits: Limits | None = None, token: str | None = None) -> Service:
        started.append(Service(brightness_model, root, limits or Limits(), token))
        return started[-1]

    yield start
    for service in started:
        service.jobs.close()
    assert not root.exists(), list(root.rglob("*"))
    assert not [command for command in running_commands() if "fer_pipeline.serving.sandbox.video_worker" in command]


@pytest.fixture
def bundle(brightness_model: Path, tmp_path: Path) -> Path:
    place(brightness_model, tmp_path / "data" / "bundle")
    return tmp_path / "data" / "bundle"
