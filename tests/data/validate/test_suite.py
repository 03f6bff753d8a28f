"""Great Expectations on made-up processed tables, one fault each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline import imaging, schemas
from fer_pipeline.config.params import ValidateParams
from fer_pipeline.data.validate.frames import REFERENCE_COUNTS
from fer_pipeline.data.validate.suite import QualityResult, validate
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.labels import EMOTIONS

Row = dict[str, Any]
COUNTS = {"train": 20, "validation": 6, "test": 6}
PARAMS = ValidateParams(max_class_deviation=0.2)


def healthy() -> list[Row]:
    """Each emotion alike in each split, every picture once, six of ten FER+ votes for the label "happy"."""
    rows: list[Row] = []
    for split, each in COUNTS.items():
        for number in range(each * len(EMOTIONS)):
            picture = np.random.default_rng(len(rows)).integers(0, 256, (48, 48), dtype=np.uint8)
            rows.append(
                {
                    "id": f"{len(rows):08d}",
                    "row": len(rows),
                    "name": f"made.csv:{len(rows) + 2}",
                    "usage": split,
                    "split": split,
                    "label": number % len(EMOTIONS),
                    "image": picture.tobytes(),
                    "content_hash": imaging.content_hash(picture),
                    "perceptual_hash": imaging.perceptual_hash(picture),
                    "copies": 1,
                    "copy_rank": 0,
                    "in_train": split == "train",
                    "near_in_train": split == "train",
                    "conflicting": False,
                    "brightness": float(picture.mean()),
                    "contrast": float(picture.std()),
                    "flat": False,
                    "low_contrast": False,
                    "augmented": False,
                    "votes": [0, 6, 0, 0, 4, 0, 0, 0, 0, 0],
                }
            )
    return rows


def write(folder: Path, rows: list[Row], schema: pa.Schema = schemas.PROCESSED, **metadata: Any) -> Path:
    (folder / "processed" / "faces").mkdir(parents=True)
    (folder / "quarantine").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "processed" / "faces" / "part-00000.parquet")
    duplicates = {
        "rows": len(rows),
        "groups": 0,
        "redundant": 0,
        "redundant_in_training": 0,
        "conflicting_groups": 0,
        "conflicting_rows": 0,
        "leaks": {"test": 0},
        "flat": 0,
        "largest": [],
        "conflicting": [],
    }
    quarantined = metadata.pop("quarantined", {})
    left_out = [
        {
            "row": 900 + number,
            "name": f"made.csv:{number}",
            "emotion": "7",
            "usage": None,
            "reason": reason,
            "detail": "<b>odd</b>",
        }
        for reason, count in quarantined.items()
        for number in range(count)
    ]
    values = {
        "source": {"kind": "made", "name": "made.csv", "synthetic": True},
        "rows_in": len(rows) + len(left_out),
        "rows_out": len(rows),
        "augmented": 0,
        "quarantined": quarantined,
        "removed_by_choice": {},
        "split_rule": "as the source says",
        "duplicates": duplicates,
        **metadata,
    }
    (folder / "processed" / "facts.json").write_text(json.dumps(values))
    bad = {"rows_in": values["rows_in"], "quarantined": quarantined, "removed_by_choice": {}}
    (folder / "quarantine" / "facts.json").write_text(json.dumps(bad))
    pq.write_table(pa.Table.from_pylist(left_out, schema=schemas.QUARANTINE), folder / "quarantine" / "rows.parquet")
    return folder


def check(folder: Path, params: ValidateParams = PARAMS) -> QualityResult:
    return validate(folder / "processed", folder / "quarantine", folder / "report", params)


def failed(folder: Path) -> dict[str, str]:
    """Severity of each failed check of a written validation.json, by name."""
    found = json.loads((folder / "report" / "validation.json").read_text())
    return {item["name"]: item["severity"] for item in found["checks"] if not item["success"]}


def page(folder: Path) -> str:
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


def test_a_healthy_table_passes_all_checks_and_gets_a_page(tmp_path: Path) -> None:
    """A healthy table passes all checks and gets a page that asks nobody for anything."""
    write(tmp_path, healthy())
    docs = tmp_path / "docs"
    result = validate(tmp_path / "processed", tmp_path / "quarantine", tmp_path / "report", PARAMS, data_docs=docs)
    assert result.warnings == result.errors == ()
    assert result.passed == len(result.checks) >= 25
    text = page(tmp_path)
    assert set(re.findall(r"(?:src|href|action)\s*=\s*[\"']?([a-z/.#]+)", text)) == {"data"}
    assert "url(" not in text
    assert "<script" not in text
    assert "Fit for training." in text
    assert "generated" in text
    assert text.count("<img") >= 2 + 7 * 8
    assert re.search(r"row's label in <b>14.3 %</b>", text)  # all votes say happy, one label in seven does
    results = (tmp_path / "report" / "great_expectations.json").read_bytes()
    check(tmp_path)
    assert page(tmp_path) == text, "an equal report, or DVC would train again"
    assert (tmp_path / "report" / "great_expectations.json").read_bytes() == results
    assert [suite["success"] for suite in json.loads(results)] == [True] * 4
    assert sum(suite["statistics"]["evaluated_expectations"] for suite in json.loads(results)) == len(result.checks)
    assert len(list((docs / "validations").rglob("*.html"))) == 4
    written = json.loads((tmp_path / "report" / "validation.json").read_text())
    assert written["success"] is True
    assert {"name", "column", "severity", "success", "observed", "expected", "note"} == written["checks"][0].keys()


def drop(condition: Callable[[Row], bool]) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if not condition(row)]


def change(at: int, **values: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [{**row, **values} if number == at else row for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("spoil", "name", "observed"),
    [
        (
            drop(lambda row: row["split"] == "train" and row["label"] == 1),
            "every class in every split",
            "rows 0 in train/disgust",
        ),
        (drop(lambda row: row["split"] == "train" and row["label"] == 1), "classes in train", "observed 6, expected all 7"),
        (drop(lambda row: row["split"] == "test" and row["label"] == 6), "every class in every split", "rows 0 in test/neutral"),
        (drop(lambda row: row["label"] != 3), "classes in train", "observed 1, expected all 7"),
        (drop(lambda row: row["split"] == "validation"), "every class in every split", "rows 0 in validation/angry"),
        (change(3, id="00000004"), "ids", "id 00000004 in 00000004"),
        (change(3, label=7), "labels", "label 7 in 00000003"),
        (change(3, split="holiday"), "splits", "split holiday in 00000003"),
        (change(3, image=b"short"), "picture size", "image_length 5 in 00000003"),
        (change(3, content_hash="?"), "content hashes", "content_hash ? in 00000003"),
        (change(3, brightness=256.0), "brightness of each picture", "brightness 256.0 in 00000003"),
        (change(150, augmented=True), "augmented copies", "observed 1, expected in train only"),
    ],
)
def test_a_structural_fault_stops_the_run_and_is_named(
    tmp_path: Path, spoil: Callable[[list[Row]], list[Row]], name: str, observed: str
) -> None:
    folder = write(tmp_path, spoil(healthy()))
    with pytest.raises(DataQualityError) as caught:
        check(folder)
    assert observed in str(caught.value)
    assert failed(folder)[name] == "error"
    assert "Not fit for training" in page(folder)


def test_missing_files_of_the_table_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(DataQualityError, match="rows: observed 224, expected 250, as preprocess counted"):
        check(write(tmp_path, healthy(), rows_out=250))


def test_another_column_type_is_an_error(tmp_path: Path) -> None:
    at = schemas.PROCESSED.get_field_index("label")
    schema = schemas.PROCESSED.set(at, pa.field("label", pa.int64()))
    with pytest.raises(DataQualityError, match="columns and types: observed missing label: int8; unknown label: int64"):
        check(write(tmp_path, healthy(), schema=schema))


def test_too_many_quarantined_rows_are_an_error(tmp_path: Path) -> None:
    """Too many quarantined rows are an error and their words are escaped."""
    folder = write(tmp_path, healthy(), quarantined={"label": 10})
    with pytest.raises(DataQualityError, match=r"rows in quarantine: observed 4\.27%, expected at most 2\.0%"):
        check(folder)
    assert "&lt;b&gt;odd&lt;/b&gt;" in page(folder)
    assert "<b>odd" not in page(folder)


def test_statistical_findings_are_warnings_and_go_on(tmp_path: Path) -> None:
    rows = healthy()
    leaking = [number for number, row in enumerate(rows) if row["split"] == "test"][:6]
    for number in leaking:
        rows[number] |= {"in_train": True, "near_in_train": True, "copies": 2, "content_hash": rows[0]["content_hash"]}
    for row in rows:
        row["brightness"] /= 2
        row["votes"] = [1] * 2 + [0] * 8
        if row["split"] == "validation":
            row["contrast"] = 4.0
            row["low_contrast"] = True
    duplicates = {
        **{"rows": 224, "groups": 1, "redundant": 30, "redundant_in_training": 0, "conflicting_groups": 1, "conflicting_rows": 7},
        **{"leaks": {"test": 6}, "flat": 3},
        "largest": [[{"row": 0, "label": 0}, *({"row": number, "label": 1} for number in leaking)]],
        "conflicting": [[{"row": 0, "label": 0}, {"row": leaking[0], "label": 1}]],
    }
    folder = write(tmp_path, rows, duplicates=duplicates)
    params = ValidateParams(max_class_deviation=0.05, min_rows_per_class=10)
    result = check(folder, params)
    assert set(failed(folder).values()) == {"warning"}
    assert set(failed(folder)) == {
        "FER+ votes",
        "rows per class",
        "class balance",
        "redundant copies",
        "rows with conflicting labels",
        "flat pictures",
        "test rows also in train",
        "mean brightness of train",
        "mean brightness of validation",
        "mean brightness of test",
        "mean contrast of validation",
    }
    assert "test rows also in train: observed 14.29%, expected at most 10.0%" in result.warnings
    assert any("12.8% away in train/disgust" in warning for warning in result.warnings)
    text = page(folder)
    assert "6 rows of validation and test show a picture that is in train" in text
    assert text.count('class="pair faces"') == 6
    assert "0: angry<br>" in text


def test_a_table_without_votes_is_not_asked_for_them(tmp_path: Path) -> None:
    result = check(write(tmp_path, [{**row, "votes": None} for row in healthy()]))
    assert result.errors == ()
    assert "FER+ votes" not in {item.name for item in result.checks}
    assert "Agreement with FER+" not in page(tmp_path)


def test_tables_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="run `fer preprocess` first"):
        check(tmp_path)
    folder = write(tmp_path / "narrow", [{"id": "1"}], schema=pa.schema([("id", pa.string())]))
    with pytest.raises(DataQualityError, match="lacks the columns row, name"):
        check(folder)
    with pytest.raises(DataQualityError, match="has no rows"):
        check(write(tmp_path / "empty", []))


def test_the_reference_is_fer_2013s_training_split() -> None:
    assert sum(REFERENCE_COUNTS) == 28_709
