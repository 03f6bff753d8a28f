"""`fer models show` and `diff`, `fer models compare` and `fer status`, on registered versions whose answers are known."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from fer_pipeline.cli import models, status
from fer_pipeline.cli.app import app as fer
from fer_pipeline.config import editing
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError
from fer_pipeline.experiments import exports, mlflow_store, registry, runs
from fer_pipeline.experiments.version_info import differences, version_facts
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.baseline.hog import FEATURES, hog_logistic
from fer_pipeline.promotion import candidates, champion, gate
from fer_pipeline.promotion.bundle.folder import replaced_bundle
from fer_pipeline.promotion.status import workspace_status
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive


def version(number: int) -> registry.Version:
    return registry.find("fer", str(number))


def register(root: Path, export: Path, figures: dict[str, float], recipe: dict[str, float | str]) -> registry.Version:
    """One more version, with a training run of its own."""
    shutil.copytree(export, root / "more")
    info = replace(ModelInfo.read(export), temperature=9.0, metrics=figures, lineage={"data_version": "d2"})
    info.write(root / "more")
    run_id = runs.open_training_run(root / "memo", "tiny", {"train": recipe}, {"network": "brightness"})
    runs.close_training_run(root / "memo", run_id, [])
    return registry.register(root / "more", info, "fer", run_id, {})[0]


def test_a_version_is_found_by_number_and_by_alias(registered: Path) -> None:
    assert [registry.find("fer", word).number for word in ("2", "v2", "challenger")] == [2, 2, 3]
    with pytest.raises(ModelError, match=r"no version or alias 'champion' \(there is: 1, 2, 3, challenger\)"):
        registry.find("fer", "champion")
    with pytest.raises(ModelError, match="none yet: run `fer run`"):
        registry.find("other", "1")


def test_a_version_is_found_by_the_run_that_status_prints(registered: Path, brightness_model: Path) -> None:
    known = registry.versions("fer")
    for one in known:
        others = [other for other in known if other.run_id.startswith(one.run_id[:8])]
        assert others == [one]
        assert registry.find("fer", one.run_id[:8]) == registry.find("fer", one.run_id) == one
    with pytest.raises(ModelError, match=r"no version or alias '0{8}', nor one of a run whose id begins so \(there is: 1, 2, 3"):
        registry.find("fer", "0" * 8)
    with pytest.raises(ModelError, match=rf"no version or alias '{known[0].run_id[:5]}' \("):
        registry.find("fer", known[0].run_id[:5])
    again = replace(ModelInfo.read(brightness_model), temperature=9.0)
    shutil.copytree(brightness_model, registered / "again")
    again.write(registered / "again")
    registry.register(registered / "again", again, "fer", known[0].run_id, {})  # the same weights, calibrated anew
    with pytest.raises(
        ModelError, match=rf"'{known[0].run_id}' is not one version .* but 1 of run .*, 4 of run .*: give the number"
    ):
        registry.find("fer", known[0].run_id)


def test_a_version_says_where_it_comes_from_and_what_it_can(registered: Path, brightness_model: Path) -> None:
    added = register(registered, brightness_model, {"accuracy": 0.75, "ece": 0.02}, {"lr": 0.1, "optimizer": "sgd"})
    champion.set_champion(registered, added, None)
    facts = version_facts(registry.find("fer", "champion"))
    assert (facts.number, facts.aliases, facts.network) == (4, ("challenger", "champion"), "brightness")
    assert facts.params == {"train.lr": "0.1", "train.optimizer": "sgd"}
    assert facts.lineage["data_version"] == "d2"
    assert facts.lineage["git_commit"] == "none"
    assert facts.metrics == {"accuracy": 0.75, "ece": 0.02}
    assert facts.promoted_at is not None


def test_two_versions_differ_in_what_they_differ_and_in_nothing_else(registered: Path, brightness_model: Path) -> None:
    added = register(registered, brightness_model, {"accuracy": 0.75, "ece": 0.02}, {"lr": 0.1, "flip": "True"})
    found = differences(version_facts(version(1)), version_facts(added))
    assert {change.key for change in found.lineage} == {"run_id", "data_version", "temperature", "fingerprint"}
    figures = {change.key: (change.a, change.b, change.delta) for change in found.metrics}
    assert figures == {"accuracy": (0.5, 0.75, 0.25), "ece": (None, 0.02, None)}
    recipe = {change.key: (change.b, change.delta) for change in found.params}
    assert recipe == {"train.lr": (0.1, None), "train.flip": ("True", None)}
    assert not differences(version_facts(added), version_facts(added)).params


def test_versions_with_one_answer_to_every_row_are_found_equal(
    registered: Path, levels: Path, note_learned: Callable[[str, Iterable[int]], None]
) -> None:
    for number in (1, 2):
        note_learned(version(number).run_id, range(20 * number))
    out = registered / "data" / "reports" / "compare"
    result = candidates.compare_versions(registered, version(1), version(2), out)
    assert result.rows == result.same_answer == 30  # the 40 rows that one of them was trained on are left out
    assert result.measures[0].a == result.measures[0].b == 1
    assert "an exact copy of a picture that fer version 1 or fer version 2 was trained on" in (out / "report.html").read_text()


def test_the_baseline_is_compared_and_judged_like_any_version_and_the_gate_refuses_it(registered: Path, levels: Path) -> None:
    assert "no version or alias 'baseline'" in str(CliRunner().invoke(fer, ["models", "compare", "baseline", "1"]).exception)
    folder = registered / "data" / "baseline"
    folder.mkdir()
    onnx.save(hog_logistic(np.zeros((7, FEATURES)), np.eye(7)[3]), folder / MODEL_FILE)  # always says happy
    info = ModelInfo("hog-logistic", file_sha256(folder / MODEL_FILE), 1.0, ImageSpec(), False, "levels")
    info.write(folder)
    write_training_images(folder, image_hashes(f"{row:032x}" for row in range(10)))
    run_id = runs.ensure_run(None, "hog-logistic", {})
    baseline, _ = registry.register(folder, info, "fer", run_id, {}, alias=registry.BASELINE)
    assert registry.aliases("fer") == {"challenger": 3, "baseline": 4}
    done = CliRunner().invoke(fer, ["models", "compare", "baseline", "2"])
    assert done.exit_code == 0, (done.output, done.exception)
    page = (registered / "data" / "reports" / "compare" / "report.html").read_text()
    assert "training pictures of fer version 2 are not known" in page
    values = json.loads((registered / "data" / "reports" / "compare" / "metrics.json").read_text())
    assert (values["a"], values["rows"], values["measures"][0]["b"]) == ("fer version 4", 60, 1.0)
    assert values["measures"][0]["a"] == pytest.approx(9 / 60)  # of the rows 10 to 69 nine are of class 3
    champion.set_champion(registered, version(1), None)
    decision = gate.publish(registered, baseline, gate.evaluate_challenger(registered, baseline), None)
    assert not decision.promoted
    assert {"gain in accuracy", "gain in macro-F1"} <= {check.name for check in decision.checks if not check.passed}
    assert registry.find("fer", "champion").number == 1
    arguments = ["robustness", "--model", "baseline", "--out", "robustness"]
    assert "mean corruption accuracy 0.1429, clean 0.1429" in CliRunner().invoke(fer, arguments).output


def test_versions_that_cannot_answer_to_the_same_rows_are_not_compared(registered: Path, levels: Path) -> None:
    out = registered / "compare"
    with pytest.raises(ModelError, match="both are fer version 1"):
        candidates.compare_versions(registered, version(1), version(1), out)
    values = json.loads((levels / "facts.json").read_text())
    values["image_spec"]["contrast"] = "clahe"
    (levels / "facts.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="expects image spec"):
        candidates.compare_versions(registered, version(1), version(2), out)
    assert not out.exists()


def test_the_status_of_an_empty_workspace_says_what_to_run_and_makes_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy2(Path(__file__).parents[1] / "params.yaml", tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    found = workspace_status(tmp_path)
    assert (found.champion, found.challenger, found.bundle, found.runs, found.disk) == (None, None, None, (), {})
    assert "fer run" in found.advice[0]
    assert not (tmp_path / "mlflow.db").exists()


def test_the_status_names_champion_challenger_bundle_runs_and_disk(registered: Path, brightness_model: Path) -> None:
    champion.set_champion(registered, version(1), None)
    register(registered, brightness_model, {"accuracy": 0.75}, {"lr": 0.1})
    found = workspace_status(registered)
    assert found.champion is not None
    assert found.challenger is not None
    assert (found.champion.number, found.challenger.number) == (1, 4)
    assert found.bundle is not None
    assert found.bundle.of_champion
    assert found.runs[0].name == "tiny"
    assert found.runs[0].status == "FINISHED"
    assert found.disk["mlflow.db"] > 100_000
    assert found.advice == ("version 4 was not evaluated yet: `fer promote`",)
    assert found.working is None


def test_the_status_shows_a_training_that_failed_and_then_ended_well_without_its_failure(registered: Path) -> None:
    run_id = runs.open_training_run(registered / "memo", "tiny", {}, {})
    runs.fail_run(run_id, "the loss is not a number")
    assert workspace_status(registered).runs[0].failure == "the loss is not a number"
    assert runs.open_training_run(registered / "memo", "tiny", {}, {}) == run_id
    assert "failure" not in runs.read_run(run_id).tags
    runs.close_training_run(registered / "memo", run_id, [])
    mlflow.MlflowClient().set_tag(run_id, "failure", "left by an earlier release")
    (run,) = [run for run in workspace_status(registered).runs if run.run_id == run_id]
    assert (run.status, run.failure) == ("FINISHED", None)


def test_the_status_says_how_much_bundles_take_and_what_is_free(registered: Path, isolated_homes: Path) -> None:
    bentos = isolated_homes / "bentoml" / "bentos"
    assert "bentos" not in workspace_status(registered).disk
    bentos.mkdir(parents=True)
    (bentos / "model.onnx").write_bytes(b"0" * 3_000_000)
    found = workspace_status(registered)
    assert found.disk["bentos"] == 3_000_000
    assert found.disk_free == pytest.approx(shutil.disk_usage(registered).free, rel=0.5)
    words = " ".join(CliRunner().invoke(fer, ["status"]).output.split())
    assert "bentos 3 MB" in words
    assert "GB free" in words


def test_the_status_shows_a_bundle_of_another_model_a_damaged_one_and_a_lost_champion(registered: Path) -> None:
    champion.set_champion(registered, version(1), None)
    with replaced_bundle(registered / "export2", registered):
        pass
    found = workspace_status(registered)
    assert found.bundle is not None
    assert not found.bundle.of_champion
    assert any("fer package" in line for line in found.advice)
    (registered / "data" / "bundle" / "model.onnx").write_bytes(b"")
    damaged = workspace_status(registered).bundle
    assert damaged is not None
    assert "changed or damaged" in str(damaged.fault)
    shutil.rmtree(registered / "mlruns")
    exports._downloaded.clear()  # as in another process
    lost = workspace_status(registered)
    assert lost.champion is None
    assert lost.faults[0].startswith("champion fer version 1:")


def test_the_status_shows_the_last_drift_check_or_says_that_its_file_is_damaged(registered: Path) -> None:
    champion.set_champion(registered, version(1), None)
    assert workspace_status(registered).drift is None
    assert "drift no result: `fer monitor drift` checks" in " ".join(CliRunner().invoke(fer, ["status"]).output.split())
    file = registered / "data" / "reports" / "drift" / "drift.json"
    file.parent.mkdir(parents=True)
    model = version_facts(version(1)).fingerprint
    file.write_text(json.dumps({"verdict": "drift in brightness", "drifted": True, "span": "yesterday", "model": model}))
    found = workspace_status(registered)
    assert found.drift is not None
    assert (found.drift.verdict, found.drift.drifted, found.drift.of_champion) == ("drift in brightness", True, True)
    assert "drift/report.html" in found.advice[-1]
    file.write_text("{}")
    damaged = workspace_status(registered)
    assert damaged.drift is None
    assert "fer monitor drift" in damaged.faults[0]


@pytest.fixture
def unreachable(request: pytest.FixtureRequest, registered: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace with a champion, whose MLflow does not answer in the way that the parameter names."""
    champion.set_champion(registered, version(1), None)
    monkeypatch.setattr(mlflow_store, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        file, uri = registered / "mlflow.db", mlflow.get_tracking_uri()
        blocker = sqlite3.connect(file, isolation_level=None)
        match request.param:
            case "away":
                mlflow.set_tracking_uri("http://127.0.0.1:9")
            case "silent":
                mlflow.set_tracking_uri(f"http://127.0.0.1:{silent_server.getsockname()[1]}")
            case "locked":
                blocker.execute("BEGIN EXCLUSIVE")
            case content:
                file.write_bytes(content)
        yield registered
        blocker.close()
        mlflow.set_tracking_uri(uri)


@pytest.mark.parametrize(
    ("unreachable", "words"),
    [
        ("away", r"cannot be reached: start it"),
        ("silent", r"cannot be reached: start it"),
        ("locked", r"locked by another process: wait"),
        (b"no database, but words", r"is no SQLite database\): bring a copy"),
        (b"", r"no such table: registered_models\): bring a copy"),
    ],
    indirect=["unreachable"],
    ids=["server is away", "server is silent", "file is locked", "file is damaged", "file is empty"],
)
def test_the_status_says_within_seconds_that_mlflow_does_not_answer_and_what_is_known_without_it(
    unreachable: Path, words: str
) -> None:
    start = time.monotonic()
    found = workspace_status(unreachable)
    assert time.monotonic() - start < 10
    assert re.search(words, str(found.unreachable))
    assert (found.champion, found.challenger, found.runs, found.faults, found.advice) == (None, None, (), (), ())
    assert found.bundle is not None
    assert (found.bundle.placed_as, found.bundle.of_champion) == ("fer version 1, champion", None)
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
    done = CliRunner().invoke(fer, ["status"])
    assert done.exit_code == 8
    assert "placed as fer version 1, champion" in " ".join(done.output.split())
    assert json.loads(CliRunner().invoke(fer, ["status", "--json"]).output)["champion"] is None


def test_the_status_says_who_works_here_until_that_process_dies(registered: Path) -> None:
    with exclusive(registered / RUN_LOCK, "train-champion"):
        assert f"train-champion, process {os.getpid()}" in str(workspace_status(registered).working)
        note = registered / "data" / ".run.holder.json"
        note.write_text(json.dumps({**json.loads(note.read_text()), "pid": 2**22 + 1}))
        assert workspace_status(registered).working is None


def test_the_commands_print_tables_and_json(registered: Path, levels: Path, brightness_model: Path) -> None:
    import typer

    champion.set_champion(registered, version(1), None)
    editing.write_values(registered / "params.yaml", {"promote.bootstrap": 100})
    app = typer.Typer()
    app.command()(status.status)
    app.add_typer(models.app, name="models")
    for arguments, words in (
        (["status"], "fer version 1 (champion)"),
        (["models", "show", "champion"], "fingerprint"),
        (["models", "compare", "1", "challenger", "--params"], "temperature"),
        (["models", "compare", "champion", "3"], "McNemar"),
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        assert words in done.output
        values = CliRunner().invoke(app, [*arguments, "--json"])
        assert isinstance(json.loads(values.stdout), dict)


def test_the_commands_on_models_name_a_wrong_version_what_there_is_and_what_to_run(
    registered: Path,
) -> None:
    champion.set_champion(registered, version(1), None)
    for arguments, words in (
        (["models", "show", "seventh"], "no version or alias 'seventh' (there is: 1, 2, 3, challenger, champion)"),
        (
            ["models", "compare", "1", "champion", "--params"],
            "1 and champion are both fer version 1: name two versions (`fer models list`)",
        ),
        (["rollback", "--to", "0"], "no other version 0 to go back to: --to takes one of 2, 3"),
        (["promote", "--version", "9"], "no version 9 (versions are 1, 2, 3)"),
    ):
        assert words in str(CliRunner().invoke(fer, arguments).exception), arguments
    editing.write_values(registered / "params.yaml", {"promote.model_name": "other"})
    assert "no version of model other yet: `fer run`" in CliRunner().invoke(fer, ["models", "list"]).output
    for arguments, words in (
        (["models", "show"], "no version or alias 'champion' (there is: none yet: run `fer run`)"),
        (["rollback"], "no champion yet: run `fer run` first"),
        (["promote"], "no challenger (none yet: run `fer run`)"),
    ):
        assert words in str(CliRunner().invoke(fer, arguments).exception), arguments
