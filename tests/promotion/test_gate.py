"""The gate on registered versions whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import pytest

from fer_pipeline.config import editing
from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.promotion import champion, gate
from fer_pipeline.promotion.decision import SmokeTest
from fer_pipeline.promotion.rollback import roll_back
from tests.promotion.steps import decide_on, make_champion


@pytest.fixture
def root(registered: Path) -> Path:
    return registered


@pytest.fixture
def processed(levels: Path) -> Path:
    return levels


def change_metadata(processed: Path, **values: Any) -> None:
    file = processed / "facts.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_gate_does_not_promote_again_what_was_rolled_back(root: Path) -> None:
    make_champion(root, 1, 3)
    roll_back(root, None)
    decision = decide_on(root, champion.challenger(root, 3))
    assert not decision.promoted
    assert "fer rollback --to 3" in decision.markdown()


def test_the_champion_is_not_evaluated_against_itself(root: Path) -> None:
    """The champion stays without a contest against itself."""
    make_champion(root, 2)
    assert decide_on(root, champion.challenger(root, 2)).promoted


def test_rows_that_a_candidate_was_trained_on_are_left_out(
    root: Path, processed: Path, note_learned: Callable[[str, Iterable[int]], None]
) -> None:
    """The gate leaves out rows that a candidate was trained on."""
    version = champion.challenger(root, 3)
    note_learned(version.run_id, range(20))
    decision = decide_on(root, version)
    assert decision.promoted
    assert decision.rows == 50


def test_a_model_of_another_image_spec_is_not_evaluated(root: Path, processed: Path) -> None:
    """No model is evaluated on pictures prepared otherwise."""
    change_metadata(processed, image_spec={**asdict(ImageSpec()), "contrast": "clahe"})
    with pytest.raises(ModelError, match="expects image spec"):
        decide_on(root, champion.challenger(root, 3))


def test_no_real_model_is_evaluated_on_synthetic_faces(root: Path, processed: Path) -> None:
    """No model of real pictures is evaluated on synthetic faces."""
    change_metadata(processed, source={"synthetic": True, "name": "levels"})
    with pytest.raises(ModelError, match="real pictures"):
        decide_on(root, champion.challenger(root, 3))


def test_unknown_training_data_of_a_candidate_is_reported(
    root: Path, processed: Path, note_learned: Callable[[str, Iterable[int]], None]
) -> None:
    """The gate says where it does not know what a candidate was trained on."""
    first, second = champion.challenger(root, 1), champion.challenger(root, 2)
    note_learned(first.run_id, [0])
    make_champion(root, 1)
    decision = decide_on(root, second)
    for text in (decision.markdown(), gate.page(root).read_text()):
        assert "copy of a picture that fer version 1 was trained on" in text
        assert "The training pictures of fer version 2 are not known" in text
    assert json.loads(gate.page(root).with_name("decision.json").read_text())["unknown_training_data"] == ["fer version 2"]
    note_learned(second.run_id, [0])
    known = decide_on(root, second)
    assert known.unknown_training_data == ()
    assert "69 test rows. None of them is an exact copy of a picture that fer version 2 or fer version 1" in known.markdown()


def test_both_are_run_on_the_same_corrupted_pictures(root: Path, processed: Path) -> None:
    """Champion and challenger are run on the same corrupted pictures, unless that is switched off."""
    editing.write_values(root / "params.yaml", {"promote.corruption_pictures": 10})
    make_champion(root, 1)
    checks = {check.name: check for check in decide_on(root, champion.challenger(root, 2)).checks}
    assert checks["mean accuracy on corrupted pictures (10 test rows)"].observed == "+0.0 points [+0.0, +0.0]"
    editing.write_values(root / "params.yaml", {"promote.corruption_pictures": 0})
    assert not [check for check in decide_on(root, champion.challenger(root, 2)).checks if "corrupted" in check.name]


def test_a_decision_is_stored_as_tags_page_and_in_the_run(root: Path, processed: Path) -> None:
    """A decision is kept as tags as a page and in the run of the challenger."""
    first, second = champion.challenger(root, 1), champion.challenger(root, 2)
    decide_on(root, second)
    tags = champion.challenger(root, 2).tags
    assert "gate.over_guessing_low" in tags
    assert "Gains per emotion" not in gate.page(root).read_text()  # nobody to compare with
    make_champion(root, 1)
    decision = decide_on(root, champion.challenger(root, 2))
    tags = champion.challenger(root, 2).tags
    assert "gate.over_guessing_low" not in tags  # of another judgement
    assert tags["gate"] == "failed"
    for name in (
        "accuracy_gain",
        "accuracy_gain_low",
        "macro_f1_gain_high",
        "recall_fall",
        "ece",
        "latency_ms",
        "corrupted_change",
    ):
        assert tags[f"gate.{name}"] == f"{decision.figures[name]:.4f}"
    page = gate.page(root).read_text()
    assert f"{second}" in page
    assert f"{first}" in page
    assert "not promoted" in page
    assert page.count("data:image/svg+xml") == 1
    assert "http://" not in page.replace("http://www.w3.org", "")
    stored = mlflow.artifacts.load_dict(f"runs:/{second.run_id}/gate/decision.json")
    assert stored["figures"] == pytest.approx(decision.figures)


def test_a_decision_says_that_a_bundle_does_not_answer(root: Path, processed: Path) -> None:
    fault = "bento fer:v2 does not serve its model: it failed while starting\nline of its log"
    decision = decide_on(root, champion.challenger(root, 2), SmokeTest(None, fault))
    assert not decision.promoted
    tags = champion.challenger(root, 2).tags
    assert tags["gate"] == "failed"
    for text in (tags["gate.decision"], gate.page(root).read_text(), decision.markdown()):
        assert "does not serve its model: it failed while starting" in text
        assert "line of its log" not in text
    assert "fer:v2-c0de" in decide_on(root, champion.challenger(root, 2), SmokeTest("fer:v2-c0de")).markdown()
    assert champion.challenger(root, 2).tags["gate"] == "passed"


def test_the_champion_stays_where_its_bundle_does_not_answer(root: Path) -> None:
    """The champion itself is not evaluated for a bundle that does not answer."""
    make_champion(root, 2)
    with pytest.raises(ModelError, match="it failed while starting"):
        decide_on(root, champion.challenger(root, 2), SmokeTest(None, "it failed while starting"))
    assert "gate" not in champion.champion(root).tags


def test_a_decision_without_measurement_leaves_the_page(root: Path, processed: Path) -> None:
    """A decision without measurement has no numbers and leaves the page alone."""
    make_champion(root, 2)
    decision = decide_on(root, champion.challenger(root, 2))
    assert decision.figures == {}
    assert not gate.page(root).exists()
