"""Checkpoint of a training run: one file, replaced atomically after each epoch."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.files import replaced_file, tidy

STATE_FILE = "state.npz"

Arrays = list[npt.NDArray[np.generic]]


@dataclass
class State:
    """State from which a run is resumed.

    `epoch` counts finished epochs; `key` identifies recipe and data.

    `variables` are the network's weights and the state of all random generators, `optimizer` the optimizer's variables (moving
    averages included). `best` holds the weights that the run would return now, those of `best_epoch` (1 is the first epoch);
    empty where they are the ones in `variables`.
    """

    key: str
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    waited: int = 0
    seconds: float = 0.0
    variables: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)
    best: Arrays = field(default_factory=list)


_ARRAYS = ("variables", "optimizer", "best")
_PROGRESS = "facts"  # all but the arrays, under the name that checkpoints of every version have


def save(folder: Path, state: State) -> None:
    """Replace the checkpoint in `folder` atomically.

    Raises `ToolUnavailableError` where the disk refuses it.
    """
    progress = {name: value for name, value in vars(state).items() if name not in _ARRAYS}
    arrays: dict[str, Any] = {f"{group}_{i}": array for group in _ARRAYS for i, array in enumerate(getattr(state, group))}
    arrays[_PROGRESS] = np.array(json.dumps(progress))
    target = folder / STATE_FILE
    tidy(target)  # a checkpoint that a killed run did not finish would hold space
    try:
        with replaced_file(target, durable=True) as aside, aside.open("wb") as stream:
            np.savez(stream, **arrays)
    except OSError as error:
        raise ToolUnavailableError(
            f"checkpoint in {folder} cannot be written ({error.strerror}): free space, or change its owner or mode"
        ) from error


def restore(folder: Path, key: str) -> tuple[State, str]:
    """Load the state to start from, and a message (empty without a checkpoint).

    A checkpoint of another recipe, of other data, or a damaged one is removed, and a new state is returned.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return State(key), ""
    try:
        with np.load(path, allow_pickle=False) as stored:
            progress = json.loads(str(stored[_PROGRESS]))
            if progress["key"] != key:
                discard(folder)
                return State(key), f"removed the checkpoint {path}: it belongs to another recipe or other data"
            state = State(**progress)
            for group in _ARRAYS:
                count = sum(name.startswith(f"{group}_") for name in stored.files)
                setattr(state, group, [stored[f"{group}_{i}"] for i in range(count)])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        discard(folder)
        return State(key), f"removed the checkpoint {path}: it cannot be read ({error})"
    return state, f"resuming after epoch {state.epoch} from {path}"


def discard(folder: Path) -> None:
    """Remove the checkpoint and its folder, if they exist."""
    shutil.rmtree(folder, ignore_errors=True)
