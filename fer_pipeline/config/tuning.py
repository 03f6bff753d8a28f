"""The section `tune` of params.yaml: bounds and space of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from fer_pipeline.config.base import Count, Natural, Section, suggested
from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import ParamsError


class Range(Section):
    """Range of a number that a search tries: `low` to `high`, both included.

    With `log`, values are drawn evenly on a logarithmic scale.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} with log: true, expected a number above 0")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Lowest and highest value."""
        return (self.low, self.high)


class Choices(Section):
    """List of values that a search tries."""

    choices: Annotated[list[bool | int | float | str], Field(min_length=2)]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All the values."""
        return tuple(self.choices)


Candidates = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(
        lambda value: "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"
    ),
]

NOT_SEARCHED = (
    "profile",
    "epochs",
    "seed",
    "soft_labels_hash",
    "teachers_hash",
    "evaluate_every",
    "low_resolution_epochs",
    "transfer.frozen_epochs",
)
"""Keys of train that a search keeps: `epochs` of a trial stand in tune, and trials of other lengths could not be compared."""


class TuneParams(Section):
    """The search of `fer tune`.

    `space` holds the values to try for dotted keys of train, such as "augment.shift".
    """

    trials: Count = 20
    epochs: Count = 10
    metric: Literal["accuracy", "macro_f1"] = "accuracy"
    startup_trials: Count = 5
    min_epochs: Natural = 3
    seed: int = 0
    space: Annotated[dict[str, Candidates], Field(min_length=1)]

    @field_validator("space")
    @classmethod
    def _keys_of_train(cls, space: dict[str, Candidates]) -> dict[str, Candidates]:
        plain = TrainParams()
        known = [key for key in _leaves(plain.model_dump(mode="json")) if key not in NOT_SEARCHED]
        for key, candidates in space.items():
            if key in TrainParams.renamed:
                raise ValueError(f"{key} is called {TrainParams.renamed[key]} now: rename the key")
            if key in NOT_SEARCHED:
                raise ValueError(f"{key} is the same for all trials, take it out of the space")
            if key not in known:
                raise ValueError(f"train has no key {key!r}{suggested(key, known)}")
            for value in candidates.ends:
                try:
                    plain.with_values({key: value})
                except ParamsError as error:
                    raise ValueError(str(error)) from error
        return space


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in values.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return found
