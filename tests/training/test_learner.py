"""The learner: phases, heads, state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_pipeline.config.training import TrainParams, TransferParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import ParamsError
from fer_pipeline.training import checkpoints
from fer_pipeline.training.batches import Batches
from fer_pipeline.training.learner import Learner
from fer_pipeline.training.schedules import Phase
from fer_pipeline.training.train import recipe_key, train
from tests.training.recipe import WHOLE, Killed


def test_only_the_head_learns_while_the_backbone_is_frozen() -> None:
    params = TrainParams(network="transfer:MobileNetV3Small", epochs=3, transfer=TransferParams(input_size=32))
    learner = Learner(params, np.full(3, 0.1, np.float32))
    learner.enter(Phase(0, 1, frozen=True), 0)
    assert [weight.path for weight in learner.network.trainable_variables] == ["logits/kernel", "logits/bias"]
    learner.enter(Phase(1, 3), 0)
    assert len(learner.network.trainable_variables) > 50


def test_optimizer_state_survives_phases_and_rate_cuts(data: tuple[FaceDataset, FaceDataset]) -> None:
    """The optimizer goes on when pictures grow or the rate is cut."""
    learner = Learner(WHOLE, np.full(20, 0.1, np.float32))
    state = checkpoints.State("key")
    before = checkpoints.State("key")
    learner.enter(Phase(0, 2, size=32), 0)
    learner.fit(Batches(data[0], WHOLE, 0), keras.callbacks.Callback())
    learner.store(before)
    learner.enter(Phase(2, 4), 1)
    learner.store(state)
    for a, b in zip(state.optimizer, before.optimizer, strict=True):
        np.testing.assert_array_equal(a, b)
    assert learner.rate_after(0) == pytest.approx(0.05)


def test_votes_are_learned_by_a_head_that_is_not_kept(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    """Votes are learned by a second head that the model does not keep."""
    votes = np.zeros((140, 10), np.float32)
    votes[np.arange(140), data[0].labels] = 8
    votes[:, 9] = 2  # "no face" is no emotion
    votes[:20] = np.nan
    faces = replace(data[0], votes=votes)
    params = TrainParams(network="compact", epochs=2, batch_size=28, ema_decay=0.5, mixup_alpha=0.2, vote_loss_weight=0.4)
    killed: list[int] = []

    def kill_after_one(epoch: int, _: dict[str, float]) -> None:
        killed.append(epoch)
        raise Killed

    with pytest.raises(Killed):
        train(faces, data[1], params, tmp_path / "c", kill_after_one)
    result = train(faces, data[1], params, tmp_path / "c")
    assert (killed, result.resumed_after) == ([1], 1)
    assert result.network.count_params() == 661_095
    assert recipe_key(faces, data[1], params) != recipe_key(replace(faces, votes=votes * 0 + 1), data[1], params)


def test_votes_need_a_dense_head(data: tuple[FaceDataset, FaceDataset], tmp_path: Path) -> None:
    """Learning votes with a network without a dense head is refused."""
    faces = replace(data[0], votes=np.ones((140, 10), np.float32))
    with pytest.raises(ParamsError, match="mini_xception has none"):
        train(faces, data[1], TrainParams(network="mini_xception", epochs=1, vote_loss_weight=0.4), tmp_path)
