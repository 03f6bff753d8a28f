"""The result of a search, best.json.

Written by `fer tune`, read where the best trial becomes a profile.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config.base import explained
from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace.files import write_json

RESULT_FILE = "best.json"


@dataclass(frozen=True)
class SearchResult:
    """The best trial of a search and how it was found.

    `value` is its `metric` (accuracy or macro_f1, a share) on the validation split after `epochs` epochs; `trials` counts
    complete trials and the `stopped` ones among them; `recipe` is the recipe that was in use with the trial's `values`, at its
    full length.
    """

    study: str
    metric: str
    value: float
    trial: int
    trials: int
    stopped: int
    epochs: int
    seed: int
    train_seed: int
    seconds: float
    data: str
    synthetic: bool
    data_version: str
    git_commit: str
    values: dict[str, Any]
    recipe: TrainParams

    @property
    def comment(self) -> str:
        """What stands above the recipe in profiles.yaml."""
        text = (
            f"Found by `fer tune`: trial {self.trial}, the best of {self.trials} ({self.stopped} stopped early) by validation "
            f"{self.metric}, {self.value:.4f} after {self.epochs} epochs, on {self.data}, seed {self.seed}, training seed "
            f"{self.train_seed}. A trial chosen on validation looks better there than it is; not measured on test."
        )
        return "\n".join(textwrap.wrap(text, 125))

    def write(self, folder: Path) -> None:
        """Writes best.json."""
        write_json(folder / RESULT_FILE, {**asdict(self), "recipe": self.recipe.model_dump(mode="json")})

    @classmethod
    def read(cls, folder: Path) -> SearchResult:
        """Read best.json of a folder.

        Raises `ParamsError` where there is none, or its recipe no longer fits this code.
        """
        path = folder / RESULT_FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**values, "recipe": TrainParams.from_stored(values["recipe"])})
        except FileNotFoundError as error:
            raise ParamsError(f"{path} is missing: run `fer tune` first") from error
        except ValidationError as error:
            faults = explained(error, TrainParams)
            raise ParamsError(f"{path} holds a recipe that this code does not know ({faults}): run `fer tune` again") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParamsError(f"{path} cannot be read: {error}; run `fer tune` again") from error
