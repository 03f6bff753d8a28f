"""Rows that stay on the device, on TensorFlow and, where it is installed, on JAX (KERAS_BACKEND=jax)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.training import checkpoints, device_loop, learner, train
from fer_pipeline.training.batches import Batches
from fer_pipeline.training.device_loop import compiled_loop
from fer_pipeline.training.schedules import Phase

Make = Callable[[int, int], FaceDataset]
PARAMS = TrainParams(
    epochs=3,
    batch_size=20,
    lr=0.05,
    schedule="constant",
    warmup_share=0.0,
    ema_decay=0.8,
    mixup_alpha=0.3,
    vote_loss_weight=0.4,
    low_resolution_size=32,
    low_resolution_epochs=2,
)


def tiny(_: TrainParams, *, any_size: bool = False, mixed_precision: bool = False) -> keras.Model:
    """A network with all that needs care: batch norm, dropout, a dense head."""
    image = keras.Input((None, None, 1) if any_size else (48, 48, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = layers.Conv2D(8, 5, strides=3, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(7, name="logits")(x), name="tiny")


@pytest.fixture
def faces(make_stripes: Make) -> FaceDataset:
    votes = np.random.default_rng(0).multinomial(10, [0.1] * 10, 70).astype(np.float32)
    votes[:9] = np.nan
    return replace(make_stripes(70, 0), votes=votes)


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (learner, train):
        monkeypatch.setattr(module, "build", tiny)


class Seen(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps.append(batch)


def fit_two_epochs(faces: FaceDataset) -> tuple[list[np.ndarray], list[dict[str, float]], Seen]:
    """All variables after two epochs, the figures of each, and the callback."""
    keras.utils.set_random_seed(0)
    trained = learner.Learner(PARAMS, np.full(9, 0.05, np.float32))
    state, seen = checkpoints.State("key"), Seen()
    trained.enter(Phase(0, 2, size=32), 0)
    figures = []
    for epoch in range(2):
        batches = Batches(faces, PARAMS, epoch)
        figures.append(trained.fit(batches, seen))
        trained.average(batches)
        logits = trained.predict(faces.images[:30])
        trained.store(state)
    return [*state.variables, *state.optimizer, *trained.evaluated, logits], figures, seen


def test_resident_rows_give_the_weights_of_streamed_batches(faces: FaceDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows on the device give the weights that batches sent to it give."""
    found = []
    for stays in (True, False):
        monkeypatch.setattr(learner, "can_stay", lambda _, stays=stays: stays)
        found.append(fit_two_epochs(faces))
    (here, figures, seen), (sent, expected, _) = found
    assert seen.steps == [0, 1, 2, 0, 1, 2]
    for a, b in zip(figures, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    for a, b in zip(here, sent, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)


def test_resumed_run_on_device_equals_uninterrupted_run(
    faces: FaceDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run on the device ends exactly like one that was not killed."""
    monkeypatch.setattr(learner, "can_stay", lambda _: True)

    def kill(epoch: int, _: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    whole = train.train(faces, faces, PARAMS, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train.train(faces, faces, PARAMS, tmp_path / "killed", kill)
    resumed = train.train(faces, faces, PARAMS, tmp_path / "killed")
    assert resumed.resumed_after == 2
    for a, b in zip(resumed.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_compiled_loop_runs_in_order_and_is_traced_once() -> None:
    """A compiled loop runs its steps in order and is traced once."""
    total, traced = keras.Variable(np.zeros((), np.float32)), []

    def step(index: Any, data: Any) -> None:
        traced.append(index)
        total.assign(10 * total + data["numbers"][index])

    loop = compiled_loop(step, [total])
    data = {"numbers": ops.convert_to_tensor(np.array([1, 2, 3, 4], np.float32))}
    loop(0, 1, data)
    count = len(traced)
    loop(1, 4, data)
    assert float(total) == 1234
    assert len(traced) == count


def test_steps_per_call_grow_while_calls_are_short(faces: FaceDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer is called with more and more steps while calls are short."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(device_loop, "compiled_loop", lambda _, __: lambda first, last, ___: calls.append((first, last)))
    monkeypatch.setattr(learner, "can_stay", lambda _: True)
    params = PARAMS.model_copy(update={"batch_size": 5, "ema_decay": 0.0})
    trained = learner.Learner(params, np.full(42, 0.05, np.float32))
    trained.enter(Phase(0, 3), 0)
    seen = Seen()
    trained.fit(Batches(faces, params, 0), seen)
    assert calls == [(0, 1), (1, 3), (3, 7), (7, 14)]
    assert seen.steps == list(range(14))


def test_large_or_slow_data_is_sent_batch_by_batch(faces: FaceDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large or runs slower in loops is sent batch by batch."""
    for backend, devices, expected in (
        ("tensorflow", [], True),
        ("torch", [], False),
        ("jax", ["cpu:0"], False),
        ("jax", ["cuda:0"], True),
    ):
        monkeypatch.setattr("keras.backend.backend", lambda backend=backend: backend)
        monkeypatch.setattr("keras.distribution.list_devices", lambda devices=devices: devices)
        assert device_loop.can_stay(faces) is expected
    monkeypatch.setattr(device_loop, "RESIDENT_BYTES", faces.images.nbytes - 1)
    assert device_loop.can_stay(faces) is False


ON_FORCED_DEVICES = """
import json, sys
from pathlib import Path
import numpy as np
sys.path[:0] = sys.argv[1:3]
import tests.training.test_device_loop as here
from tests.fixtures.stripes import stripes
from fer_pipeline.training import learner, train as training
from fer_pipeline.training.devices import device_count
learner.build = training.build = here.tiny
learner.can_stay = lambda faces: sys.argv[3] == "resident"
params = here.PARAMS.model_copy(update={"vote_loss_weight": 0.0, "mixup_alpha": 0.3})
validation, seen = stripes(31, 1), []
result = training.train(stripes(70, 0), validation, params, Path(sys.argv[4]), lambda *_: seen.append(device_count()))
logits = result.network.predict(validation.images, batch_size=8, verbose=0)
np.savez(sys.argv[5], *result.network.get_weights(), logits)
print(json.dumps([seen, [figures["val_loss"] for figures in result.history]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["resident", "streamed"])
def test_four_devices_train_the_network_that_one_trains(way: str, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="data parallel training needs JAX, which is not among the packages of the lock")
    weights, figures = [], []
    for count in (1, 4):
        out = tmp_path / f"{count}.npz"
        tests = Path(__file__).parent
        arguments = [tests, tests.parents[1], way, tmp_path / f"checkpoints{count}", out]
        done = subprocess.run(
            [sys.executable, "-c", ON_FORCED_DEVICES, *map(str, arguments)],
            env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        devices, losses = json.loads(done.stdout.splitlines()[-1])
        assert devices == [count] * 3
        figures.append(losses)
        with np.load(out) as stored:
            weights.append([stored[name] for name in stored.files])
    np.testing.assert_allclose(figures[0], figures[1], rtol=1e-3)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)
