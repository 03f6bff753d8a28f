"""The summary of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fer_pipeline.promotion import champion, gate
from fer_pipeline.promotion.summary import summarise
from fer_pipeline.workspace import dvc
from tests.promotion.steps import make_champion


@pytest.fixture
def root(registered: Path) -> Path:
    return registered


@pytest.fixture
def processed(levels: Path) -> Path:
    return levels


def test_a_run_with_nothing_new_says_what_would_be_new(root: Path, processed: Path) -> None:
    """A run that had nothing new to learn from says so and what would be new."""
    evaluation = dvc.output(root, "evaluate")
    evaluation.mkdir(parents=True)
    figures = {f"{name}{end}": 0.5 for name in ("accuracy", "macro_f1") for end in ("", "_low", "_high")}
    (evaluation / "metrics.json").write_text(json.dumps(figures))
    make_champion(root, 2)
    stages = [*dvc.stage_names(root)]

    def text(number: int, cached: list[str]) -> str:
        version = champion.challenger(root, number)
        return summarise(root, version, gate.evaluate_challenger(root, version).decision, cached).markdown()

    said = text(2, stages)
    for word in ("fer version 2 is the champion already", "nothing new to learn from", "fer feedback accept", "fer data add"):
        assert word in said
    assert "nothing new to learn from" not in text(2, stages[:-1])  # something was done again
    assert "nothing new to learn from" not in text(3, stages)  # the decision says why it is no champion
