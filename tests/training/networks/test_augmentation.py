from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.config.training import AugmentParams
from fer_pipeline.training.networks.augmentation import Augmentation, area_matrix

NOTHING = {
    "flip": False,
    "rotate_degrees": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "erase_probability": 0.0,
    "blur": 0.0,
    "noise": 0.0,
}
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 48, 48, 1), dtype=np.uint8)
KEEP = np.ones((16, 1), np.float32)


def changed(images: npt.NDArray[np.uint8], shares: npt.NDArray[np.float32] = KEEP, **values: object) -> npt.NDArray[np.uint8]:
    layer = Augmentation(AugmentParams.model_validate(NOTHING | values), seed=1)
    return keras.ops.convert_to_numpy(layer(images, shares[: len(images)], training=True))


def test_augmentation_keeps_shape_and_dtype_and_differs() -> None:
    """All changes together keep shape and type and differ per picture."""
    same = np.repeat(IMAGES[:1], 16, axis=0)
    found = keras.ops.convert_to_numpy(Augmentation(AugmentParams())(same, KEEP, training=True))
    assert found.shape == same.shape
    assert found.dtype == np.uint8
    assert len({picture.tobytes() for picture in found}) == 16


def test_nothing_happens_without_training() -> None:
    found = Augmentation(AugmentParams())(IMAGES, KEEP, training=False)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), IMAGES)


def test_nothing_happens_where_all_is_switched_off() -> None:
    np.testing.assert_array_equal(changed(IMAGES), IMAGES)


def test_a_flip_shows_each_picture_or_its_exact_mirror_image() -> None:
    found = changed(IMAGES, flip=True)
    mirrored = [np.array_equal(found[i], IMAGES[i, :, ::-1]) for i in range(16)]
    straight = [np.array_equal(found[i], IMAGES[i]) for i in range(16)]
    assert all(m or s for m, s in zip(mirrored, straight, strict=True))
    assert any(mirrored)
    assert any(straight)


def test_noise_falls_on_half_of_the_images() -> None:
    """Noise of up to its bound falls on about half of the pictures."""
    flat = np.full((256, 48, 48, 1), 128, np.uint8)
    amounts = changed(flat, np.ones((256, 1), np.float32), noise=16.0).astype(float).std(axis=(1, 2, 3))
    clean = (amounts < 0.1).mean()
    assert 0.4 < clean < 0.6
    assert 15 < amounts.max() < 17
    assert 6 < amounts[amounts > 0.1].mean() < 10  # even between none and the bound


def test_blur_falls_on_half_of_the_images() -> None:
    """Blur of up to its bound spreads the light of about half of the pictures."""
    dots = np.full((256, 48, 48, 1), 10, np.uint8)
    dots[:, 24, 24] = 250
    found = changed(dots, np.ones((256, 1), np.float32), blur=1.0).astype(float)[..., 0]
    sharp = found[:, 24, 24] > 245
    assert 0.4 < sharp.mean() < 0.75  # a blur below a third of a pixel changes little
    weights = np.clip(found - 10, 0, None)
    spread = np.sqrt((weights * (np.arange(48) - 24.0) ** 2).sum(axis=(1, 2)) / weights.sum(axis=(1, 2)))
    assert 0.85 < spread.max() < 1.05
    assert (np.abs(weights.sum(axis=(1, 2)) - 240) < 30).all()  # no light is lost but by rounding to gray levels
    np.testing.assert_array_equal(changed(np.full((16, 48, 48, 1), 90, np.uint8), blur=1.0), 90)


def test_a_dot_moves_no_further_than_the_shift_allows() -> None:
    dots = np.zeros((16, 48, 48, 1), np.uint8)
    dots[:, 23:25, 23:25] = 255
    found = changed(dots, shift=0.1).astype(float)[..., 0]
    y, x = np.mgrid[:48, :48] - 23.5
    mass = found.sum(axis=(1, 2))
    away = np.stack([(found * y).sum(axis=(1, 2)) / mass, (found * x).sum(axis=(1, 2)) / mass])
    assert np.abs(away).max() <= 4.8 + 0.1
    assert np.abs(away).max() > 2


def test_turning_and_scaling_leave_the_middle_in_place() -> None:
    disc = np.zeros((16, 48, 48, 1), np.uint8)
    disc[:, 20:28, 20:28] = 255
    found = changed(disc, rotate_degrees=45.0, scale=0.4).astype(float)[..., 0]
    y, x = np.mgrid[:48, :48] - 23.5
    mass = found.sum(axis=(1, 2))
    assert np.abs((found * y).sum(axis=(1, 2)) / mass).max() < 0.2
    assert np.abs((found * x).sum(axis=(1, 2)) / mass).max() < 0.2
    assert mass.max() > 1.2 * mass.min()


def test_erasing_makes_one_rectangle_of_bounded_size() -> None:
    """Erasing makes one plain rectangle of at most a fifth of the picture."""
    found = changed(IMAGES, erase_probability=1.0)
    different = (found != IMAGES).mean(axis=(1, 2, 3))
    assert different.max() <= 0.21
    assert different.max() > 0.02
    for before, after in zip(IMAGES, found, strict=True):
        assert len(np.unique(after[before != after])) <= 1


def test_brightness_and_contrast_stay_in_range() -> None:
    flat = np.full((16, 48, 48, 1), 128, np.uint8)
    means = changed(flat, brightness=0.2, contrast=0.5).mean(axis=(1, 2, 3))
    assert means.min() >= 128 - 52
    assert means.max() <= 128 + 52
    assert means.std() > 5


def test_a_mixup_share_takes_the_rest_from_the_picture_before() -> None:
    levels = np.zeros((3, 48, 48, 1), np.uint8) + np.array([0, 100, 200], np.uint8)[:, None, None, None]
    shares = np.array([[0.5], [1.0], [0.75]], np.float32)
    assert changed(levels, shares)[:, 0, 0, 0].tolist() == [100, 100, 175]


def test_small_images_are_area_averages() -> None:
    """Small pictures are area averages in training and out of it."""
    layer = Augmentation(AugmentParams.model_validate(NOTHING), size=24)
    expected = np.round(IMAGES.reshape(16, 24, 2, 24, 2).mean(axis=(2, 4)))[..., None]
    for training in (True, False):
        found = keras.ops.convert_to_numpy(layer(IMAGES, KEEP, training=training))
        assert found.shape == (16, 24, 24, 1)
        np.testing.assert_allclose(found, expected, atol=1)


@pytest.mark.parametrize("size", [24, 32, 40])
def test_area_weights_keep_the_mean(size: int) -> None:
    weights = area_matrix(48, size)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=0), size / 48, rtol=1e-5)


def test_the_same_seed_draws_the_same_changes() -> None:
    first, second = (
        keras.ops.convert_to_numpy(Augmentation(AugmentParams(), seed=7)(IMAGES, KEEP, training=True)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
