"""Measure training speed of the compact network in pictures a second.

With plain and with fused batch normalisation, in float32 and bfloat16.

Steps of the recipe's batch size at full picture size on random pictures, without augmentation; the four networks take turns, so
that a busy moment of the machine meets all of them. bfloat16 gains only where the CPU computes in it (AMX: `lscpu`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import keras
import numpy as np
from rich.table import Table

from fer_pipeline.config.training import TrainParams
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.training.networks.batch_norm import fused
from fer_pipeline.training.networks.zoo import build

BATCH, STEPS, TURNS = 128, 8, 3


def tables() -> Iterator[Table]:
    """Median pictures a second of each, and how much the fused kernel gains."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH * STEPS, FACE_SIZE, FACE_SIZE, 1), np.uint8)
    targets = np.eye(len(EMOTIONS), dtype=np.float32)[rng.integers(0, len(EMOTIONS), len(images))]
    networks = {(kind, mixed): _network(kind == "fused", mixed) for mixed in (False, True) for kind in ("plain", "fused")}
    speeds: dict[tuple[str, bool], list[float]] = {key: [] for key in networks}
    for turn in range(TURNS + 1):  # the first traces the graphs
        for key, network in networks.items():
            started = time.perf_counter()
            network.fit(images, targets, batch_size=BATCH, verbose=0)
            if turn:
                speeds[key].append(len(images) / (time.perf_counter() - started))
    title = f"training, {keras.backend.backend()}, batches of {BATCH}"
    table = Table("batch normalisation", "plain, pictures/s", "fused, pictures/s", "gain", title=title)
    for mixed in (False, True):
        plain, quick = (statistics.median(speeds[kind, mixed]) for kind in ("plain", "fused"))
        table.add_row("bfloat16" if mixed else "float32", f"{plain:.0f}", f"{quick:.0f}", f"{quick / plain:.2f}x")
    yield table


def _network(is_fused: bool, mixed: bool) -> keras.Model:
    network = build(TrainParams(network="compact"), mixed_precision=mixed)
    if is_fused:
        network = fused(network)
    network.compile(
        keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        jit_compile=keras.backend.backend() == "jax",  # as training does
    )
    return network
