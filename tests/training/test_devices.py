from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.training.devices import data_parallel, device_count, hardware


def stand_in(monkeypatch: pytest.MonkeyPatch, backend: str, module: Any) -> None:
    """Makes Keras say that it runs on a backend, whose module is then the given one."""
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setitem(sys.modules, backend, module)


def jax_with(*devices: tuple[str, str]) -> SimpleNamespace:
    return SimpleNamespace(devices=lambda: [SimpleNamespace(platform=platform, device_kind=kind) for platform, kind in devices])


def tensorflow_with(*details: dict[str, str]) -> SimpleNamespace:
    def visible(kind: str) -> list[int]:
        return list(range(len(details))) if kind == "GPU" else []

    experimental = SimpleNamespace(get_device_details=lambda number: details[number])
    return SimpleNamespace(config=SimpleNamespace(get_visible_devices=visible, experimental=experimental))


@pytest.mark.parametrize(
    ("devices", "name"),
    [
        ([("gpu", "NVIDIA H200")], "NVIDIA H200"),
        ([("gpu", "NVIDIA H200")] * 4, "4 x NVIDIA H200"),
        ([("gpu", "NVIDIA H200")] * 2 + [("gpu", "NVIDIA L4")], "2 x NVIDIA H200, NVIDIA L4"),
        ([("tpu", "TPU v4")], "TPU v4"),
        ([("cpu", "cpu")] * 4, "cpu, 2 cores"),  # forced host devices are no hardware
    ],
)
def test_jax_trains_on_all_its_devices(monkeypatch: pytest.MonkeyPatch, devices: list[tuple[str, str]], name: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    stand_in(monkeypatch, "jax", jax_with(*devices))
    assert hardware() == name


@pytest.mark.parametrize(
    ("details", "name"),
    [
        ([], "cpu, 1 core"),
        ([{"device_name": "NVIDIA H200"}, {"device_name": "NVIDIA L4"}], "NVIDIA H200"),  # it computes on the first
        ([{}], "GPU"),  # a driver that tells no name
    ],
)
def test_tensorflow_trains_on_its_first_gpu(monkeypatch: pytest.MonkeyPatch, details: list[dict[str, str]], name: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    stand_in(monkeypatch, "tensorflow", tensorflow_with(*details))
    assert hardware() == name


@pytest.mark.parametrize(("kind", "name"), [("cuda", "NVIDIA H200"), ("mps", "mps"), ("cpu", "cpu, 2 cores")])
def test_torch_trains_on_the_device_that_keras_chose(monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    device = SimpleNamespace(type=kind)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("keras.ops.zeros", lambda _: SimpleNamespace(device=device))
    names = {id(device): "NVIDIA H200"}
    stand_in(monkeypatch, "torch", SimpleNamespace(cuda=SimpleNamespace(get_device_name=lambda given: names[id(given)])))
    assert hardware() == name


def test_batch_that_devices_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that cannot be split over the devices is refused with what to do."""
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: [f"cuda:{number}" for number in range(4)])
    with pytest.raises(ParamsError, match=r"batches of 30 pictures .* 4 devices: make train.batch_size a multiple of 4"):
        data_parallel(30)


def test_one_device_needs_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["cpu:0"])
    with data_parallel(7):
        assert device_count() == 1
