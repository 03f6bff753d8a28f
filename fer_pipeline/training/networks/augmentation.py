"""Random augmentation of training images, on the device."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from fer_pipeline.config.training import AugmentParams
from fer_pipeline.imaging import FACE_SIZE

ERASED_AREA = (0.02, 0.2)
"""Range of the erased share of an image (Zhong et al. 2017, arXiv 1708.04896)."""


class Augmentation(keras.layers.Layer):
    """Augment and shrink uint8 images (N, 48, 48, 1) to (N, size, size, 1).

    Without `training` they are only scaled down. The second input are the mixup shares (N, 1).

    A share of s keeps s of an image and takes 1 - s of the one before it in the batch (the first takes of the last).
    """

    def __init__(self, params: AugmentParams, *, size: int = FACE_SIZE, seed: int = 0) -> None:
        super().__init__(dtype="float32", trainable=False)
        self.augment = params
        self.size = size
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any, shares: Any, training: bool | None = None) -> Any:
        x = ops.cast(images, "float32")
        if training:
            x = self._degrade(self._erase(self._relight(self._move(x))))
            shares = ops.reshape(shares, (-1, 1, 1, 1))
            x = shares * x + (1 - shares) * ops.roll(x, 1, axis=0)
        if self.size < FACE_SIZE:
            shrink = area_matrix(FACE_SIZE, self.size)
            x = ops.einsum("ij,njkc,lk->nilc", shrink, x, shrink)
        return ops.cast(ops.round(ops.clip(x, 0, 255)), "uint8")

    def compute_output_shape(self, images_shape: Any, shares_shape: Any) -> tuple[int | None, ...]:
        return (images_shape[0], self.size, self.size, 1)

    def _move(self, x: Any) -> Any:
        p = self.augment
        if not (p.flip or p.rotate_degrees or p.scale or p.shift):
            return x
        n = ops.shape(x)[0]
        angle = self._uniform(n, math.radians(p.rotate_degrees))
        zoom = 1 / (1 + self._uniform(n, p.scale))
        mirror = ops.where(keras.random.uniform((n,), seed=self.seeds) < 0.5, -1.0, 1.0) if p.flip else ops.ones((n,))
        centre = (FACE_SIZE - 1) / 2
        # Each output point (x, y) reads the input at (a x + b y + c, d x + e y + f).
        a, b = mirror * zoom * ops.cos(angle), -mirror * zoom * ops.sin(angle)
        d, e = zoom * ops.sin(angle), zoom * ops.cos(angle)
        c = centre - (a + b) * centre + self._uniform(n, p.shift * FACE_SIZE)
        f = centre - (d + e) * centre + self._uniform(n, p.shift * FACE_SIZE)
        none = ops.zeros((n,))
        transform = ops.stack([a, b, c, d, e, f, none, none], axis=1)
        return ops.image.affine_transform(
            x, transform, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )

    def _relight(self, x: Any) -> Any:
        p = self.augment
        n = ops.shape(x)[0]
        if p.contrast:
            mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
            x = mean + (x - mean) * ops.reshape(1 + self._uniform(n, p.contrast), (-1, 1, 1, 1))
        if p.brightness:
            x = x + 255 * ops.reshape(self._uniform(n, p.brightness), (-1, 1, 1, 1))
        return ops.clip(x, 0, 255)

    def _erase(self, x: Any) -> Any:
        if not self.augment.erase_probability:
            return x
        n = ops.shape(x)[0]
        low, high = ERASED_AREA
        area = keras.random.uniform((n,), low, high, seed=self.seeds) * FACE_SIZE**2
        ratio = ops.exp(self._uniform(n, math.log(2)))
        height, width = ops.sqrt(area * ratio), ops.sqrt(area / ratio)
        rows, columns = self._inside(n, height), self._inside(n, width)
        chosen = keras.random.uniform((n,), seed=self.seeds) < self.augment.erase_probability
        erased = ops.logical_and(ops.expand_dims(rows, 2), ops.expand_dims(columns, 1))
        erased = ops.logical_and(erased, ops.reshape(chosen, (-1, 1, 1)))
        gray = ops.reshape(keras.random.uniform((n,), 0, 255, seed=self.seeds), (-1, 1, 1, 1))
        return ops.where(ops.expand_dims(erased, 3), gray, x)

    def _degrade(self, x: Any) -> Any:
        """Blur and then add noise, each to half of the images, by a random amount."""
        p = self.augment
        n = ops.shape(x)[0]
        if p.blur:
            sigma = ops.reshape(self._amount(n, p.blur), (-1, 1, 1))
            distance = ops.arange(FACE_SIZE, dtype="float32")
            squares = ops.square(ops.expand_dims(distance, 0) - ops.expand_dims(distance, 1))
            kernel = ops.exp(-ops.expand_dims(squares, 0) / (2 * ops.square(sigma) + 1e-3))  # sigma 0 leaves the image
            kernel = kernel / ops.sum(kernel, axis=2, keepdims=True)
            x = ops.einsum("nij,njkc,nlk->nilc", kernel, x, kernel)
        if p.noise:
            sigma = ops.reshape(self._amount(n, p.noise), (-1, 1, 1, 1))
            x = x + sigma * keras.random.normal(ops.shape(x), seed=self.seeds)
        return x

    def _amount(self, n: Any, bound: float) -> Any:
        return bound * ops.relu(keras.random.uniform((n,), -1, 1, seed=self.seeds))

    def _inside(self, n: Any, length: Any) -> Any:
        """Mark the pixels (N, 48) of a span of this length (N,) at a random position."""
        centre = keras.random.uniform((n,), 0, FACE_SIZE, seed=self.seeds)
        pixel = ops.arange(FACE_SIZE, dtype="float32") + 0.5
        return ops.abs(ops.expand_dims(pixel, 0) - ops.expand_dims(centre, 1)) <= ops.expand_dims(length, 1) / 2

    def _uniform(self, n: Any, bound: float) -> Any:
        return keras.random.uniform((n,), -bound, bound, seed=self.seeds)


def area_matrix(large: int, small: int) -> npt.NDArray[np.float32]:
    """Compute weights (small, large) that average pixels by the area they share.

    Rows sum to 1.
    """
    edges = np.linspace(0, large, small + 1)
    left, right = edges[:-1, None], edges[1:, None]
    pixel = np.arange(large)[None, :]
    shared = np.clip(np.minimum(right, pixel + 1) - np.maximum(left, pixel), 0, None)
    weights: npt.NDArray[np.float32] = (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
