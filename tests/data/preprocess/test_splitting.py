"""Copies and splits in a real local Spark, on made-up tables with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from fer_pipeline import imaging
from fer_pipeline.data.preprocess.splitting import carve
from fer_pipeline.labels import EMOTIONS
from tests.data.made_rows import Row, face, left_out, read, row, run, unsplit

pytestmark = pytest.mark.usefixtures("spark")


def with_copies() -> list[Row]:
    """Picture 1 three times in training (one with another label) and once in PublicTest; 2 twice in PublicTest; 9 is flat."""
    no_face = [0] * 9 + [6]
    doubt = [5] + [0] * 8 + [4]
    return [
        row(face(1), "0", "Training", votes=no_face),
        row(face(1), "0", "Training"),
        row(face(1), "3", "Training"),
        row(face(1), "0", "PublicTest"),
        row(face(2), "2", "PublicTest", votes=no_face),
        row(face(2), "2", "PublicTest"),
        row(face(3), "5", "PrivateTest"),
        row(np.full((48, 48), 9, np.uint8), "6", "Training", votes=doubt),
        row(face(4), "1", "Training"),
        row(face(4) // 16 + 100, "1", "PublicTest"),  # the same bright and dark cells, other content
    ]


EXPECTED_DUPLICATES = {
    "rows": 10,
    "groups": 2,
    "redundant": 4,
    "redundant_in_training": 2,
    "conflicting_groups": 1,
    "conflicting_rows": 4,
    "leaks": {"PrivateTest": 0, "PublicTest": 1},
    "flat": 1,
    "largest": [
        [{"row": 0, "label": 0}, {"row": 1, "label": 0}, {"row": 2, "label": 3}, {"row": 3, "label": 0}],
        [{"row": 4, "label": 2}, {"row": 5, "label": 2}],
    ],
    "conflicting": [[{"row": 0, "label": 0}, {"row": 1, "label": 0}, {"row": 2, "label": 3}, {"row": 3, "label": 0}]],
}


def test_copies_are_counted_and_kept_by_default(tmp_path: Path) -> None:
    """Copies are counted exactly and kept where nothing else is asked."""
    metadata = run(tmp_path, with_copies())
    assert metadata.duplicates == EXPECTED_DUPLICATES
    assert metadata.rows_out == 10
    rows = read(tmp_path)
    columns = ("copies", "copy_rank", "in_train", "near_in_train", "conflicting", "flat", "low_contrast")
    assert {int(key): tuple(found[name] for name in columns) for key, found in rows.items()} == {
        0: (4, 0, True, True, True, False, False),
        1: (4, 1, True, True, True, False, False),
        2: (4, 2, True, True, True, False, False),
        3: (4, 0, True, True, True, False, False),
        4: (2, 0, False, False, False, False, False),
        5: (2, 1, False, False, False, False, False),
        6: (1, 0, False, False, False, False, False),
        7: (1, 0, True, True, False, True, True),
        8: (1, 0, True, True, False, False, False),
        9: (1, 0, False, imaging.perceptual_hash(face(4)) == imaging.perceptual_hash(face(4) // 16 + 100), False, False, True),
    }


def test_rows_dropped_by_choice_are_counted_apart(tmp_path: Path) -> None:
    """Rows removed by choice are accounted for apart from faults."""
    metadata = run(tmp_path, with_copies(), drop_duplicates=True, min_non_face_votes=5)
    assert left_out(tmp_path) == [(0, "non-face"), (2, "training-copy")]
    assert metadata.removed_by_choice == {"non-face": 1, "training-copy": 1}
    assert metadata.quarantined == {}
    assert metadata.duplicates == EXPECTED_DUPLICATES
    rows = read(tmp_path)
    assert rows["00000001"]["copies"] == 4
    assert rows["00000003"]["in_train"]
    assert rows["00000001"]["conflicting"]


def test_missing_splits_are_stratified_and_keep_copies_together(tmp_path: Path) -> None:
    """A source without splits gets stratified ones that keep copies together."""
    folder = tmp_path / "my {odd} [folder] *"
    metadata = run(folder, unsplit(), validation_share=0.2, test_share=0.2)
    for split, count in (("train", 12), ("validation", 4), ("test", 4)):
        assert [metadata.splits[split][emotion] for emotion in EMOTIONS[:3]] == [count] * 3
    for found in read(folder).values():
        assert found["in_train"] == found["near_in_train"] == (found["split"] == "train")
    assert "20 % of all rows" in metadata.split_rule


def test_public_test_becomes_test_where_there_is_no_private_test(tmp_path: Path) -> None:
    rows = [*unsplit("Training"), row(face(900), "0", "PublicTest")]
    metadata = run(tmp_path, rows)
    assert [sum(by_label.values()) for by_label in metadata.splits.values()] == [54, 6, 1]
    assert metadata.split_rule.startswith(
        "the source has no test split, so its validation split is test; validation is 10 % of train"
    )


def test_a_carve_takes_one_group_of_small_classes_and_never_all(spark: SparkSession) -> None:
    labels = {0: ["a"] * 50 + [f"b{number}" for number in range(50)], 1: ["c", "d"], 2: ["e", "e", "e"]}
    plain = [(label, name) for label, names in labels.items() for name in names]
    data = [(number, "train", label, name) for number, (label, name) in enumerate(plain)]
    data.append((len(data), "test", 1, "d"))
    table = spark.createDataFrame(data, "row long, split string, label byte, perceptual_hash string")
    chosen = []
    for parts in (1, 5):
        found = carve(table.repartition(parts), "validation", 0.1, seed=3).orderBy("row").collect()
        chosen.append([(item["row"], item["split"]) for item in found])
    assert chosen[0] == chosen[1]
    moved = [plain[number] for number, split in chosen[0] if split == "validation"]
    assert sum(label == 0 for label, _ in moved) == 10
    assert (0, "a") not in moved
    assert sum(label == 1 for label, _ in moved) == 1
    assert not any(label == 2 for label, _ in moved)
    assert chosen[0][-1][1] == "test"
    other = carve(table, "validation", 0.1, seed=4).orderBy("row").collect()
    assert [(item["row"], item["split"]) for item in other] != chosen[0]
