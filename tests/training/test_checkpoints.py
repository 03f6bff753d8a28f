"""Checkpoints that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_pipeline.training import checkpoints


def test_a_damaged_checkpoint_is_removed_with_a_message(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "c", checkpoints.State("key", epoch=3, variables=[np.ones(4)]))
    path = tmp_path / "c" / checkpoints.STATE_FILE
    path.write_bytes(path.read_bytes()[:100])
    state, message = checkpoints.restore(tmp_path / "c", "key")
    assert (state.epoch, path.exists()) == (0, False)
    assert "cannot be read" in message
