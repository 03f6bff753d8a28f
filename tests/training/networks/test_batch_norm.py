"""Fused batch normalisation."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fer_pipeline.training.networks.batch_norm import FusedBatchNormalization, fused


def test_fused_batch_norm_equals_the_plain_one() -> None:
    """The fused batch norm computes and follows statistics like the plain one."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow has the fused kernel")
    plain = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.BatchNormalization(momentum=0.9)])
    quick = fused(plain)
    assert type(quick.layers[-1]) is FusedBatchNormalization
    pictures = np.random.default_rng(0).normal(3, 2, (50, 6, 6, 3)).astype(np.float32)
    for training in (True, False):
        np.testing.assert_allclose(quick(pictures, training=training), plain(pictures, training=training), atol=1e-4)
    for a, b in zip(quick.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)


def test_a_batch_norm_without_scale_or_offset_stays_as_it_is() -> None:
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.BatchNormalization(scale=False)])
    assert type(fused(network).layers[-1]) is keras.layers.BatchNormalization
