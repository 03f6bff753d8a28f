"""A recipe that uses every part of a training, and a stand-in for kill -9."""

from __future__ import annotations

from fer_pipeline.config.training import AugmentParams, TrainParams

WHOLE = TrainParams(
    network="compact",
    epochs=4,
    batch_size=28,
    lr=0.02,
    ema_decay=0.8,
    mixup_alpha=0.2,
    low_resolution_size=32,
    low_resolution_epochs=2,
    early_stopping_patience=3,
    augment=AugmentParams(flip=False),  # a mirrored stripe has another label
)


class Killed(BaseException):
    """Stands for kill -9: nothing in the code under test may catch it."""
