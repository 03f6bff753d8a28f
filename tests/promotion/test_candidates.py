"""Versions on the same test rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app as fer
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.experiments import registry, runs
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.baseline.hog import FEATURES, hog_logistic
from fer_pipeline.promotion import candidates, champion, gate


def version(number: int) -> registry.Version:
    return registry.find("fer", str(number))


def test_versions_with_one_answer_to_each_row_are_equal(
    registered: Path, levels: Path, note_learned: Callable[[str, Iterable[int]], None]
) -> None:
    for number in (1, 2):
        note_learned(version(number).run_id, range(20 * number))
    out = registered / "data" / "reports" / "compare"
    result = candidates.compare_versions(registered, version(1), version(2), out)
    assert result.rows == result.same_answer == 30  # the 40 rows that one of them was trained on are left out
    assert result.measures[0].a == result.measures[0].b == 1
    assert "an exact copy of a picture that fer version 1 or fer version 2 was trained on" in (out / "report.html").read_text()


def test_the_baseline_is_compared_and_the_gate_refuses_it(registered: Path, levels: Path) -> None:
    """The baseline is compared and judged like any version."""
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


def test_versions_without_common_rows_are_not_compared(registered: Path, levels: Path) -> None:
    out = registered / "compare"
    with pytest.raises(ModelError, match="both are fer version 1"):
        candidates.compare_versions(registered, version(1), version(1), out)
    values = json.loads((levels / "facts.json").read_text())
    values["image_spec"]["contrast"] = "clahe"
    (levels / "facts.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="expects image spec"):
        candidates.compare_versions(registered, version(1), version(2), out)
    assert not out.exists()


@pytest.mark.parametrize("standard", ["labels", "votes"])
def test_answers_are_judged_by_labels_or_by_votes(make_processed: Callable[..., Path], tmp_path: Path, standard: str) -> None:
    """By votes, rows without votes are left out, and the labels are what most votes say."""
    folder = make_processed(tmp_path / "processed", {"train": 7, "test": 14})
    table = ProcessedTable.open(folder)
    votes = np.full((14, 10), np.nan, np.float32)
    votes[:5] = [0, 8, 0, 0, 0, 0, 0, 0, 2, 0]
    faces = replace(table.split("test"), votes=votes)
    with mock.patch.object(ProcessedTable, "split", return_value=faces):
        rows = candidates.shared_evaluation_set(folder, [], standard)
    expected = faces.labels if standard == "labels" else np.full(5, EMOTIONS.index("happy"))
    np.testing.assert_array_equal(rows.labels, expected)


def test_judging_by_votes_needs_votes(make_processed: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_processed(tmp_path / "processed", {"train": 7, "test": 14})
    with pytest.raises(ParamsError, match=r"promote\.standard is votes, but no test row.*--votes fer2013new\.csv"):
        candidates.shared_evaluation_set(folder, [], "votes")
