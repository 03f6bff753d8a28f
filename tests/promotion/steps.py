"""Steps of promotions that several tests take."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.experiments import registry
from fer_pipeline.promotion import champion, gate
from fer_pipeline.promotion.decision import Decision, SmokeTest


def make_champion(root: Path, *numbers: int) -> None:
    for number in numbers:
        current = registry.by_alias("fer", "champion")
        champion.set_champion(root, champion.challenger(root, number), str(current) if current else None)


def decide_on(root: Path, challenger: registry.Version, smoke_test: SmokeTest | None = None) -> Decision:
    return gate.publish(root, challenger, gate.evaluate_challenger(root, challenger), smoke_test)
