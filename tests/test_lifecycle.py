from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.config import editing
from fer_pipeline.errors import FerError, ModelError, ParamsError, SourceError, ToolUnavailableError, WorkspaceBusyError
from fer_pipeline.experiments import registry
from fer_pipeline.experiments.tracked_stages import use_data
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion import champion, gate
from fer_pipeline.promotion.bundle import bento, store
from fer_pipeline.promotion.decision import Decision, SmokeTest
from fer_pipeline.promotion.rollback import roll_back
from fer_pipeline.workspace import dvc, layout
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive


@pytest.fixture
def root(registered: Path) -> Path:
    return registered


def change_facts(processed: Path, **values: Any) -> None:
    file = processed / "facts.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def make_champion(root: Path, *numbers: int) -> None:
    for number in numbers:
        reigning = registry.by_alias("fer", "champion")
        champion.set_champion(root, champion.challenger(root, number), str(reigning) if reigning else None)


def numbers_rolled_back(root: Path) -> set[int]:
    return {version.number for version in registry.versions("fer") if "rolled_back_at" in version.tags}


def decide_on(root: Path, challenger: registry.Version, smoke_test: SmokeTest | None = None) -> Decision:
    return gate.publish(root, challenger, gate.evaluate_challenger(root, challenger), smoke_test)


def test_rolling_back_makes_the_champion_before_champion_again(root: Path) -> None:
    make_champion(root, 1, 2, 3)
    done = roll_back(root, None)
    assert done.version.number == 2
    assert done.bundle.startswith("fer:v2-")
    assert champion.champion(root).number == 2
    assert ModelInfo.read(root / layout.BUNDLE).temperature == 2.0  # data/bundle follows the champion
    named = ModelInfo.read(root / layout.BUNDLE).lineage
    assert (named["name"], named["version"], named["alias"]) == ("fer", "2", "champion")


def test_rolling_back_twice_goes_back_two_steps(root: Path) -> None:
    make_champion(root, 1, 2, 3)
    roll_back(root, None)
    roll_back(root, None)
    assert champion.champion(root).number == 1
    with pytest.raises(ModelError, match="no earlier champion to go back to"):
        roll_back(root, None)


def test_rolling_back_does_not_wait_for_a_training(root: Path) -> None:
    make_champion(root, 1, 2)
    with exclusive(root / RUN_LOCK, "train-champion"):
        done = CliRunner().invoke(app, ["rollback"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert champion.champion(root).number == 1
    with pytest.raises(WorkspaceBusyError, match="another promotion or roll-back was faster"):
        champion.set_champion(root, champion.challenger(root, 3), "fer version 2")  # what the training decided before


def test_a_roll_back_that_fails_leaves_the_champion_unmarked_and_everything_in_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ToolUnavailableError("MLflow is away")

    make_champion(root, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", away)
        with pytest.raises(ToolUnavailableError, match="MLflow is away"):
            roll_back(root, None)
    assert "rolled_back_at" not in champion.champion(root).tags
    assert ModelInfo.read(root / layout.BUNDLE).temperature == 2.0
    assert [path.name for path in (root / "data").glob(".bundle.*")] == []  # nothing aside is left
    assert roll_back(root, None).version.number == 1


def test_on_a_full_disk_a_roll_back_changes_nothing_and_the_next_one_goes_back_one_step(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copy2

    def full(source: Path, target: Path) -> Path:
        if ".bundle.new" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(source, target)

    make_champion(root, 1, 2, 3)
    bundle = root / layout.BUNDLE
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(OSError, match="No space left"):
            roll_back(root, None)
    assert champion.champion(root).number == 3
    assert ModelInfo.read(bundle).temperature == 3.0
    assert not list(bundle.parent.glob(".bundle.*"))
    assert roll_back(root, None).version.number == 2


def test_a_roll_back_that_comes_after_another_promotion_stays_noted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_champion(root, 1, 2)
    monkeypatch.setattr(store, "is_packaged", lambda _tag: registry.set_alias(champion.challenger(root, 3), "champion"))
    registry.tag_version(champion.challenger(root, 1), {"bundle": "fer:v1"})
    with pytest.raises(WorkspaceBusyError, match="fer version 3 is champion now"):
        roll_back(root, None)
    assert "rolled_back_at" in champion.challenger(root, 2).tags


def test_crowning_the_champion_again_does_not_make_it_younger(root: Path) -> None:
    make_champion(root, 2)
    since = champion.champion(root).tags["promoted_at"]
    make_champion(root, 2)
    assert champion.champion(root).tags["promoted_at"] == since


def test_a_version_can_be_named_also_one_that_was_rolled_back(root: Path) -> None:
    make_champion(root, 1, 3)
    roll_back(root, 1)
    roll_back(root, 3)
    assert champion.champion(root).number == 3
    assert numbers_rolled_back(root) == set()


def test_after_a_false_alarm_the_roll_back_still_finds_the_champion_before(root: Path) -> None:
    make_champion(root, 1, 2, 3)
    roll_back(root, None)
    roll_back(root, 3)  # nothing was wrong with it
    assert numbers_rolled_back(root) == set()
    assert roll_back(root, None).version.number == 2  # there was, after all
    assert numbers_rolled_back(root) == {3}


def test_to_name_a_version_that_never_was_champion_says_nothing_against_the_one_before(root: Path) -> None:
    make_champion(root, 1, 2)
    roll_back(root, 3)
    assert numbers_rolled_back(root) == set()
    assert roll_back(root, None).version.number == 2
    assert numbers_rolled_back(root) == {3}


def test_a_model_of_synthetic_faces_follows_one_of_real_pictures_only_by_name(root: Path) -> None:
    make_champion(root, 1, 2, 3)
    registry.tag_version(champion.challenger(root, 2), {"synthetic": "true"})
    done = CliRunner().invoke(app, ["rollback"])
    assert "fer version 1 is champion again" in done.output
    assert "passed over: fer version 2, trained on synthetic faces; `fer rollback --to 2` takes it" in done.output
    with pytest.raises(ModelError, match=r"no earlier champion but fer version 2, of synthetic faces .* --to takes one of 2, 3"):
        roll_back(root, None)
    assert roll_back(root, 2).version.number == 2


def test_a_model_of_synthetic_faces_follows_another_one_as_any_champion_does(root: Path) -> None:
    make_champion(root, 1, 2)
    for number in (1, 2):
        registry.tag_version(champion.challenger(root, number), {"synthetic": "true"})
    done = roll_back(root, None)
    assert (done.version.number, done.skipped) == (1, ())


def test_the_gate_does_not_promote_again_what_was_rolled_back(root: Path) -> None:
    make_champion(root, 1, 3)
    roll_back(root, None)
    decision = decide_on(root, champion.challenger(root, 3))
    assert not decision.promoted
    assert "fer rollback --to 3" in decision.markdown()


def test_the_champion_stays_without_a_contest_against_itself(root: Path) -> None:
    make_champion(root, 2)
    assert decide_on(root, champion.challenger(root, 2)).promoted


@pytest.mark.parametrize("number", [9, 2, 0])
def test_a_version_that_is_not_there_or_reigns_is_refused(root: Path, number: int) -> None:
    make_champion(root, 1, 2)
    with pytest.raises(ModelError, match=f"no other version {number} to go back to: --to takes one of 1, 3"):
        roll_back(root, number)
    assert champion.champion(root).number == 2


def test_where_nothing_was_champion_before_the_roll_back_says_which_versions_there_are(root: Path) -> None:
    make_champion(root, 2)
    with pytest.raises(ModelError, match="no earlier champion to go back to: --to takes one of 1, 3"):
        roll_back(root, None)


def test_without_a_champion_there_is_nothing_to_roll_back_or_package(root: Path) -> None:
    with pytest.raises(ModelError, match="no champion yet"):
        roll_back(root, None)


def test_the_challenger_is_the_newest_version_unless_one_is_named(root: Path) -> None:
    assert champion.challenger(root, None).number == 3
    assert champion.challenger(root, 1).number == 1
    with pytest.raises(ModelError, match=r"no version 7 \(versions are 1, 2, 3\)"):
        champion.challenger(root, 7)


def test_the_bundle_of_then_is_served_again_without_a_build(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = champion.package_version(root, champion.challenger(root, 1))
    make_champion(root, 1, 2)
    monkeypatch.setattr(bento, "build", lambda *_, **__: pytest.fail("nothing is to be built"))
    assert roll_back(root, None).bundle == first


def test_only_a_bundle_that_passed_its_trial_is_told_to_have_done_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str | None] = []
    build = bento.build

    def killed(*_: object, tested: str | None) -> str:
        told.append(tested)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bento, "build", killed)
        with pytest.raises(KeyboardInterrupt):
            champion.package_version(root, champion.challenger(root, 1))
    assert "bundle" not in champion.challenger(root, 1).tags
    monkeypatch.setattr(bento, "build", lambda *a, tested: told.append(tested) or build(*a, tested=tested))
    tag = champion.package_version(root, champion.challenger(root, 1))
    champion.package_version(root, champion.challenger(root, 1))
    assert told == [None, None, tag]


def test_votes_and_synthetic_faces_do_not_go_together(root: Path) -> None:
    with pytest.raises(ParamsError, match="leave them out"):
        use_data(root, Path("synthetic"), Path("votes.csv"))


def test_a_source_that_cannot_be_read_does_not_become_the_source(root: Path) -> None:
    before = (root / "params.yaml").read_text()
    (root / "empty.csv").touch()
    with pytest.raises(SourceError, match="empty"):
        use_data(root, root / "empty.csv", None)
    assert (root / "params.yaml").read_text() == before
    assert not (root / "data" / "source").exists()


@pytest.fixture
def processed(levels: Path) -> Path:
    return levels


def test_the_gate_leaves_out_rows_that_a_candidate_was_trained_on(
    root: Path, processed: Path, note_learned: Callable[[str, Iterable[int]], None]
) -> None:
    version = champion.challenger(root, 3)
    note_learned(version.run_id, range(20))
    decision = decide_on(root, version)
    assert decision.promoted
    assert decision.rows == 50


def test_no_model_is_judged_on_pictures_prepared_otherwise(root: Path, processed: Path) -> None:
    change_facts(processed, image_spec={**asdict(ImageSpec()), "contrast": "clahe"})
    with pytest.raises(ModelError, match="was prepared otherwise"):
        decide_on(root, champion.challenger(root, 3))


def test_no_model_of_real_pictures_is_judged_on_synthetic_faces(root: Path, processed: Path) -> None:
    change_facts(processed, source={"synthetic": True, "name": "levels"})
    with pytest.raises(ModelError, match="real pictures"):
        decide_on(root, champion.challenger(root, 3))


def test_the_gate_says_where_it_does_not_know_what_a_candidate_was_trained_on(
    root: Path, processed: Path, note_learned: Callable[[str, Iterable[int]], None]
) -> None:
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


def test_champion_and_challenger_meet_the_same_corrupted_pictures_unless_that_is_switched_off(
    root: Path, processed: Path
) -> None:
    editing.write_values(root / "params.yaml", {"promote.corruption_pictures": 10})
    make_champion(root, 1)
    checks = {check.name: check for check in decide_on(root, champion.challenger(root, 2)).checks}
    assert checks["mean accuracy on corrupted pictures (10 test rows)"].observed == "+0.0 points [+0.0, +0.0]"
    editing.write_values(root / "params.yaml", {"promote.corruption_pictures": 0})
    assert not [check for check in decide_on(root, champion.challenger(root, 2)).checks if "corrupted" in check.name]


def test_of_two_promotions_at_the_same_time_one_wins_and_the_other_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_champion(root, 1)
    both_decided, move = threading.Barrier(2), registry.set_alias
    outcomes: dict[int, FerError | None] = {}

    def slow_move(version: registry.Version, alias: str) -> None:
        time.sleep(0.3)  # long enough for the other one to look at the champion, if it could
        move(version, alias)

    def promote(number: int) -> None:
        version = champion.challenger(root, number)
        both_decided.wait(timeout=60)
        try:
            champion.set_champion(root, version, "fer version 1")
            outcomes[number] = None
        except FerError as error:
            outcomes[number] = error

    monkeypatch.setattr(registry, "set_alias", slow_move)
    threads = [threading.Thread(target=promote, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    (winner,) = [number for number, error in outcomes.items() if error is None]
    (loser,) = {2, 3} - {winner}
    assert isinstance(outcomes[loser], WorkspaceBusyError)
    assert f"fer promote --version {loser}" in str(outcomes[loser])
    assert champion.champion(root).number == winner
    assert ModelInfo.read(root / layout.BUNDLE).temperature == float(winner)
    assert "promoted_at" not in champion.challenger(root, loser).tags


def test_of_two_workspaces_on_one_server_that_crown_at_once_one_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move = registry.set_alias

    def moved_by_both(version: registry.Version, alias: str) -> None:
        move(version, alias)
        move(champion.challenger(root, 3), alias)  # by the other one, whose lock is another

    make_champion(root, 1)
    monkeypatch.setattr(registry, "set_alias", moved_by_both)
    with pytest.raises(WorkspaceBusyError, match=r"fer version 3 became champion .* `fer promote --version 2`"):
        make_champion(root, 2)
    assert "promoted_at" not in champion.challenger(root, 2).tags


def test_a_promotion_that_was_cut_short_can_be_finished(root: Path) -> None:
    registry.set_alias(champion.challenger(root, 2), "champion")  # the alias moved, then the process died
    decision = decide_on(root, champion.challenger(root, 2))
    champion.set_champion(root, champion.challenger(root, 2), decision.champion)  # as `fer promote` does
    assert ModelInfo.read(root / layout.BUNDLE).temperature == 2.0
    assert "promoted_at" in champion.champion(root).tags


def test_a_decision_is_kept_as_tags_as_a_page_and_in_the_run_of_the_challenger(root: Path, processed: Path) -> None:
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


def test_the_champion_itself_is_not_judged_for_a_bundle_that_does_not_answer(root: Path) -> None:
    make_champion(root, 2)
    with pytest.raises(ModelError, match="it failed while starting"):
        decide_on(root, champion.challenger(root, 2), SmokeTest(None, "it failed while starting"))
    assert "gate" not in champion.champion(root).tags


def test_a_decision_without_measurement_has_no_numbers_and_leaves_the_page_alone(root: Path, processed: Path) -> None:
    make_champion(root, 2)
    decision = decide_on(root, champion.challenger(root, 2))
    assert decision.figures == {}
    assert not gate.page(root).exists()


def test_a_run_that_had_nothing_new_to_learn_from_says_so_and_what_would_be_new(root: Path, processed: Path) -> None:
    evaluation = dvc.output(root, "evaluate")
    evaluation.mkdir(parents=True)
    figures = {f"{name}{end}": 0.5 for name in ("accuracy", "macro_f1") for end in ("", "_low", "_high")}
    (evaluation / "metrics.json").write_text(json.dumps(figures))
    make_champion(root, 2)
    stages = [*dvc.stage_names(root)]

    def text(number: int, cached: list[str]) -> str:
        version = champion.challenger(root, number)
        return champion.summarise(root, version, gate.evaluate_challenger(root, version).decision, cached).markdown()

    said = text(2, stages)
    for word in ("fer version 2 is the champion already", "nothing new to learn from", "fer feedback accept", "fer data add"):
        assert word in said
    assert "nothing new to learn from" not in text(2, stages[:-1])  # something was done again
    assert "nothing new to learn from" not in text(3, stages)  # the decision says why it is no champion


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("sqlite:///mlflow.db", None),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/#/models/fer/versions/3"),
        ("https://me:secret@models.example.org/mlflow", "https://models.example.org/mlflow/#/models/fer/versions/3"),
    ],
)
def test_a_version_has_an_address_on_a_server_without_its_password(
    uri: str, page: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.get_registry_uri", lambda: uri)
    assert registry.address(registry.Version("fer", 3, "r", {})) == page
