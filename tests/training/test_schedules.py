from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams, TransferParams
from fer_pipeline.training.schedules import learning_rates, phases, plateau_reductions


def test_one_cycle_peaks_after_the_warm_up_and_ends_at_zero() -> None:
    rates = learning_rates(TrainParams(epochs=10, lr=0.1, schedule="one_cycle", warmup_share=0.2), 10)
    assert rates.shape == (100,)
    assert rates.argmax() == 19
    assert rates.max() == pytest.approx(0.1)
    assert rates[0] < 0.01
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_cosine_without_warm_up_only_falls() -> None:
    rates = learning_rates(TrainParams(epochs=4, lr=0.2, schedule="cosine", warmup_share=0.0), 5)
    assert (np.diff(rates) < 0).all()
    assert rates[0] == pytest.approx(0.2, rel=0.01)


def test_constant_with_warm_up_rises_in_a_line() -> None:
    rates = learning_rates(TrainParams(epochs=2, lr=0.1, schedule="constant", warmup_share=0.5), 5)
    np.testing.assert_allclose(rates, [0.02, 0.04, 0.06, 0.08, 0.1, *[0.1] * 5], rtol=1e-5)


def test_a_plateau_cuts_after_three_epochs_without_a_new_minimum() -> None:
    assert plateau_reductions([]) == 0
    assert plateau_reductions([1.0, 0.9, 0.95, 0.96]) == 0
    assert plateau_reductions([1.0, 0.9, 0.95, 0.96, 0.97]) == 1
    assert plateau_reductions([1.0, *[2.0] * 6]) == 2


def test_phases_cover_all_epochs() -> None:
    small = phases(TrainParams(epochs=5, low_resolution_size=32, low_resolution_epochs=3))
    assert [(p.first, p.last, p.size, p.frozen) for p in small] == [(0, 3, 32, False), (3, 5, 48, False)]
    assert len(phases(TrainParams(epochs=5))) == 1


def test_pretrained_backbone_is_frozen_then_trained_slowly() -> None:
    """A pretrained backbone is first frozen and then trained slowly."""
    transfer = TransferParams(weights="imagenet", frozen_epochs=1, unfrozen_lr_factor=0.1)
    params = TrainParams(network="transfer:MobileNetV3Small", epochs=3, schedule="constant", warmup_share=0.0, transfer=transfer)
    assert [(p.first, p.last, p.frozen) for p in phases(params)] == [(0, 1, True), (1, 3, False)]
    np.testing.assert_allclose(learning_rates(params, 2), [0.1, 0.1, 0.01, 0.01, 0.01, 0.01], rtol=1e-5)
    untrained = params.model_copy(update={"transfer": TransferParams(weights="none")})
    assert [p.frozen for p in phases(untrained)] == [False]


def test_one_cycle_follows_two_half_cosines() -> None:
    rates = learning_rates(TrainParams(epochs=10, lr=0.1, schedule="one_cycle", warmup_share=0.2), 10)
    assert rates[0] == pytest.approx(0.1 * (1 / 25 + 24 / 25 * (1 - np.cos(np.pi / 20)) / 2))
    assert rates[9] == pytest.approx(0.1 * (1 / 25 + 24 / 25 / 2))  # half of the warm-up
    assert rates[59] == pytest.approx(0.05)  # half of the way down
    assert rates[60] == pytest.approx(0.05 * (1 + np.cos(np.pi * 41 / 80)))


def test_cosine_falls_to_zero_after_a_linear_warm_up() -> None:
    rates = learning_rates(TrainParams(epochs=2, lr=0.2, schedule="cosine", warmup_share=0.5), 4)
    np.testing.assert_allclose(rates[:4], [0.05, 0.1, 0.15, 0.2], rtol=1e-6)
    np.testing.assert_allclose(rates[4:], 0.1 * (1 + np.cos(np.pi * np.arange(1, 5) / 4)), atol=1e-7)


def test_a_plateau_schedule_keeps_the_rate_by_itself() -> None:
    rates = learning_rates(TrainParams(epochs=2, lr=0.1, schedule="plateau", warmup_share=0.0), 3)
    np.testing.assert_allclose(rates, [0.1] * 6, rtol=1e-6)


def test_an_equal_loss_is_no_new_minimum() -> None:
    assert plateau_reductions([1.0] * 4) == 1
    assert plateau_reductions([1.0, 2.0, 2.0, 0.9, 2.0, 2.0]) == 0  # a minimum starts the count anew
    assert plateau_reductions([1.0, 2.0, 2.0, 2.0, 1.5, 1.5]) == 1  # after a cut the best loss stays


def test_phases_without_epochs_are_left_out() -> None:
    assert [(p.first, p.last) for p in phases(TrainParams(epochs=4, low_resolution_size=32, low_resolution_epochs=0))] == [(0, 4)]
