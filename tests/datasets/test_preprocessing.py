"""Preprocess in a real local Spark, on made-up tables with known answers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fer_pipeline import imaging, records
from fer_pipeline.datasets.parsing import RowFault, parse_pixels, split_of
from fer_pipeline.datasets.preprocessing import PreprocessFacts, preprocess
from fer_pipeline.datasets.spark import spark_session
from fer_pipeline.datasets.splitting import carve
from fer_pipeline.errors import FerError, SourceError
from fer_pipeline.imaging import ImageSpec, UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.params import PreprocessParams

Row = dict[str, Any]
MASTER = "local[2]"


def params(**values: Any) -> PreprocessParams:
    return PreprocessParams(master=MASTER, **values)


def face(seed: int) -> UInt8Array:
    """A picture of its own, 48x48, with its own perceptual hash."""
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def pixels(picture: UInt8Array) -> str:
    return " ".join(map(str, picture.ravel()))


def row(picture: UInt8Array | None, emotion: str | None, usage: str | None, **others: Any) -> Row:
    text = None if picture is None else pixels(picture)
    return {"emotion": emotion, "usage": usage, "pixels": text, "image": None, "votes": None, **others}


def write_raw(folder: Path, rows: list[Row], group: int = 1000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    named = [{"row": number, "name": f"made.csv:{number + 2}", **row} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(named, schema=records.RAW), folder / "faces.parquet", row_group_size=group)
    source = {"kind": "made", "name": "made.csv", "synthetic": True, "rows": len(rows)}
    (folder / "source.json").write_text(json.dumps(source))
    return folder


def run(folder: Path, rows: list[Row], **values: Any) -> PreprocessFacts:
    return preprocess(write_raw(folder / "raw", rows), folder / "out", folder / "bad", params(**values))


def read(folder: Path) -> dict[str, Row]:
    """Processed rows by id."""
    return {found["id"]: found for found in pq.read_table(folder / "out" / "faces").to_pylist()}


def left_out(folder: Path) -> list[tuple[int, str]]:
    return [(found["row"], found["reason"]) for found in pq.read_table(folder / "bad" / "rows.parquet").to_pylist()]


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("out", "bad")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module", autouse=True)
def spark() -> Iterator[SparkSession]:
    with spark_session(MASTER) as session:
        yield session


# Faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("1 " * 2303, "pixel-count", "2,303 pixels, expected 2,304"),
        ("1 " * 2305, "pixel-count", "2,305 pixels"),
        ("", "pixel-count", "0 pixels"),
        ("1 " * 2303 + "256", "pixel-range", "pixel 2303 is 256, expected 0..255"),
        ("-1 " + "1 " * 2303, "pixel-range", "pixel 0 is -1"),
        ("9" * 6000 + " 1" * 2303, "pixel-range", "expected 0..255"),
        ("-" + "9" * 6000 + " 1" * 2303, "pixel-range", "expected 0..255"),
        ("1 " * 2303 + "x", "pixel-syntax", "pixel 2303 is 'x'"),
        ("1 " * 2303 + "1.5", "pixel-syntax", "'1.5'"),
        ("1 " * 2303 + "-", "pixel-syntax", "'-'"),
        ("1 " * 2303 + "٣", "pixel-syntax", "'٣'"),
        ("1\u00a0" * 2304, "pixel-syntax", "unusual characters"),
    ],
)
def test_pixels_that_are_no_face_are_named(text: str, reason: str, detail: str) -> None:
    with pytest.raises(RowFault) as caught:
        parse_pixels(text)
    assert caught.value.reason == reason
    assert detail in str(caught.value)


def test_pixels_are_read_as_they_stand() -> None:
    picture = face(1)
    assert np.array_equal(parse_pixels(f"  {pixels(picture)}\r\n"), picture)


@pytest.mark.parametrize(
    ("usage", "split"),
    [("Training", "train"), ("publictest", "validation"), (" PrivateTest ", "test"), ("VALIDATION", "validation")],
)
def test_usage_words_are_known_in_any_case(usage: str, split: str) -> None:
    assert split_of(usage, True) == split


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreprocessFacts]:
    """Each kind of fault once, among good rows of all three splits."""
    folder = tmp_path_factory.mktemp("damaged")
    colored = np.random.default_rng(5).integers(0, 256, (96, 80, 3), dtype=np.uint8)
    png = imaging.encode_png(colored)
    rows = [
        row(face(0), "0", "Training"),
        row(face(1), " Happiness ", "PublicTest"),
        row(face(2), "6", "PrivateTest"),
        row(None, "sad", "train", image=png),
        row(face(4), "7", "Training"),
        row(face(5), None, "Training"),
        row(face(6), "1", "Holiday"),
        row(face(7), "1", None),
        row(None, "1", "Training", pixels="1 2 3"),
        row(None, "1", "Training", pixels="256 " * 2304),
        row(None, "1", "Training", pixels="x " * 2304),
        row(None, "1", "Training", image=b"no picture"),
        row(None, "1", "Training", image=png[:500]),
        row(None, "1", "Training"),
        row(face(14), "1", "Training", votes=[1, 2, 3]),
        row(face(15), "1", "Training", votes=[-1] * 10),
        row(face(16), "1", "Training", votes=[1] * 10),
    ]
    return folder, run(folder, rows)


def test_each_damaged_row_goes_to_quarantine_with_its_reason(damaged: tuple[Path, PreprocessFacts]) -> None:
    folder, facts = damaged
    assert left_out(folder) == [
        (4, "label"),
        (5, "label"),
        (6, "usage"),
        (7, "usage"),
        (8, "pixel-count"),
        (9, "pixel-range"),
        (10, "pixel-syntax"),
        (11, "image"),
        (12, "image"),
        (13, "no-image"),
        (14, "votes"),
        (15, "votes"),
    ]
    assert pq.read_schema(folder / "bad" / "rows.parquet").equals(records.QUARANTINE)
    assert facts.quarantined == {
        "image": 2,
        "label": 2,
        "no-image": 1,
        "pixel-count": 1,
        "pixel-range": 1,
        "pixel-syntax": 1,
        "usage": 2,
        "votes": 2,
    }
    assert json.loads((folder / "bad" / "facts.json").read_text())["quarantined"] == facts.quarantined


def test_good_rows_come_out_with_exact_pictures_and_splits(damaged: tuple[Path, PreprocessFacts]) -> None:
    folder, facts = damaged
    rows = read(folder)
    assert {(key, found["split"], found["label"]) for key, found in rows.items()} == {
        ("00000000", "train", 0),
        ("00000001", "validation", 3),
        ("00000002", "test", 6),
        ("00000003", "train", 4),
        ("00000016", "train", 1),
    }
    assert rows["00000000"]["image"] == face(0).tobytes()
    colored = np.random.default_rng(5).integers(0, 256, (96, 80, 3), dtype=np.uint8)
    assert rows["00000003"]["image"] == imaging.to_model_input(colored, ImageSpec()).tobytes()
    assert rows["00000000"]["content_hash"] == imaging.content_hash(face(0))
    assert rows["00000016"]["votes"] == [1] * 10
    assert facts.rows_in == 17
    assert facts.rows_out == 5
    assert facts.split_rule == "train, validation and test as the source says"


def test_the_files_have_the_agreed_schema_names_and_nothing_else(damaged: tuple[Path, PreprocessFacts]) -> None:
    folder, _ = damaged
    files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file() and "raw" not in path.parts]
    assert files == ["bad/facts.json", "bad/rows.parquet", "out/faces/part-00000.parquet", "out/facts.json"]
    assert pq.read_schema(folder / "out" / "faces" / "part-00000.parquet").equals(records.PROCESSED)
    facts = json.loads((folder / "out" / "facts.json").read_text())
    assert facts["source"]["synthetic"] is True
    assert ImageSpec.from_dict(facts["image_spec"]).fingerprint == facts["image_spec_fingerprint"]


def test_rows_that_do_not_add_up_are_an_error() -> None:
    with pytest.raises(FerError, match="do not add up: 3 in"):
        PreprocessFacts({}, 3, 1, 0, {"label": 1}, {}, {}, "", {}, ImageSpec(), 1.0)


# Copies ---------------------------------------------------------------------------------------------------------------


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


def test_copies_are_counted_exactly_and_kept_where_nothing_else_is_asked(tmp_path: Path) -> None:
    facts = run(tmp_path, with_copies())
    assert facts.duplicates == EXPECTED_DUPLICATES
    assert facts.rows_out == 10
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


def test_rows_removed_by_choice_are_accounted_for_apart_from_faults(tmp_path: Path) -> None:
    facts = run(tmp_path, with_copies(), drop_training_copies=True, drop_non_faces=5)
    assert left_out(tmp_path) == [(0, "non-face"), (2, "training-copy")]
    assert facts.removed_by_choice == {"non-face": 1, "training-copy": 1}
    assert facts.quarantined == {}
    assert facts.duplicates == EXPECTED_DUPLICATES
    rows = read(tmp_path)
    assert rows["00000001"]["copies"] == 4
    assert rows["00000003"]["in_train"]
    assert rows["00000001"]["conflicting"]


# Splits ---------------------------------------------------------------------------------------------------------------


def unsplit(usage: str | None = None, each: int = 20) -> list[Row]:
    """`each` rows of the first three emotions, every picture twice."""
    return [row(face(number // 2), str(number // each), usage) for number in range(3 * each)]


def test_a_source_without_splits_gets_stratified_ones_that_keep_copies_together(tmp_path: Path) -> None:
    folder = tmp_path / "my {odd} [folder] *"
    facts = run(folder, unsplit(), validation_share=0.2, test_share=0.2)
    for split, count in (("train", 12), ("validation", 4), ("test", 4)):
        assert [facts.splits[split][emotion] for emotion in EMOTIONS[:3]] == [count] * 3
    for found in read(folder).values():
        assert found["in_train"] == found["near_in_train"] == (found["split"] == "train")
    assert "20 % of all rows" in facts.split_rule


def test_equal_input_gives_equal_files_however_the_work_is_divided(tmp_path: Path, spark: SparkSession) -> None:
    rows = [*unsplit(), row(None, "1", None)]
    run(tmp_path / "one", rows, balance_to=0.5)
    names = ("spark.sql.shuffle.partitions", "spark.sql.files.maxPartitionBytes")
    before = {name: spark.conf.get(name) for name in names}
    try:
        for name, value in zip(names, ("3", "50000"), strict=True):
            spark.conf.set(name, value)
        raw = write_raw(tmp_path / "two" / "raw", rows, group=5)
        preprocess(raw, tmp_path / "two" / "out", tmp_path / "two" / "bad", params(balance_to=0.5))
    finally:
        for name, value in before.items():
            spark.conf.set(name, value or "")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_public_test_becomes_test_where_there_is_no_private_test(tmp_path: Path) -> None:
    rows = [*unsplit("Training"), row(face(900), "0", "PublicTest")]
    facts = run(tmp_path, rows)
    assert [sum(by_label.values()) for by_label in facts.splits.values()] == [54, 6, 1]
    assert facts.split_rule.startswith(
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


# Balance and enhancement ----------------------------------------------------------------------------------------------


def test_balancing_adds_marked_copies_to_train_and_enhancement_reaches_the_picture_only(tmp_path: Path) -> None:
    rows = [row(face(number), str(number % 10 // 9), "Training") for number in range(20)]  # 18 of class 0, 2 of class 1
    rows += [row(face(50), "1", "PublicTest"), row(face(51), "1", "PrivateTest")]
    facts = run(tmp_path, rows, balance_to=0.5, denoise="median", contrast="clahe")
    assert facts.augmented == 7
    assert facts.splits["train"]["disgust"] == 9
    assert facts.rows_out == facts.rows_in + 7
    found = read(tmp_path)
    added = {key: value for key, value in found.items() if value["augmented"]}
    assert {key.split("-")[0] for key in added} == {"00000009", "00000019"}
    assert all(value["split"] == "train" and value["label"] == 1 for value in added.values())
    assert len({value["content_hash"] for value in found.values()}) == facts.rows_out
    plain = found["00000000"]
    assert plain["image"] == imaging.enhance(face(0), ImageSpec(denoise="median", contrast="clahe")).tobytes()
    assert plain["content_hash"] == imaging.content_hash(face(0))
    assert plain["brightness"] == pytest.approx(face(0).mean(), abs=1e-3)


def test_a_varied_picture_is_mirrored_shifted_and_brighter_by_known_amounts() -> None:
    picture = np.zeros((48, 48), np.uint8)
    picture[10, 5] = 100
    moved = imaging.varied(picture, mirror=True, degrees=0.0, shift_xy=(-2.0, 3.0), gain=1.5)
    assert moved[13, 40] == 150
    assert int(moved.sum()) == 150
    assert np.array_equal(imaging.varied(picture, mirror=False, degrees=0.0, shift_xy=(0.0, 0.0), gain=1.0), picture)
    assert cv2.countNonZero(imaging.varied(picture, mirror=False, degrees=90.0, shift_xy=(0.0, 0.0), gain=1.0)) == 1


# Failure --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        (
            [row(face(1), "9", "Training")],
            r"no row of .* can be used, faults by reason: {'label': 1}; the first, made.csv:2: label '9'",
        ),
        ([row(face(1), "1", "PublicTest")], "no training rows, only 1 validation"),
    ],
)
def test_a_source_without_usable_rows_fails_and_leaves_earlier_outputs(tmp_path: Path, rows: list[Row], message: str) -> None:
    for part in ("out", "bad"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "facts.json").write_text("earlier")
    with pytest.raises(SourceError, match=message):
        run(tmp_path, rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "out", "raw"]
    assert (tmp_path / "out" / "facts.json").read_text() == "earlier"


def test_a_missing_or_foreign_raw_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source\.json is missing: run `fer fetch` first"):
        preprocess(tmp_path, tmp_path / "out", tmp_path / "bad", params())
    write_raw(tmp_path, [row(face(1), "1", None)])
    pq.write_table(pa.table({"a": [1]}), tmp_path / "faces.parquet")
    with pytest.raises(SourceError, match=r"has columns \['a'\]"):
        preprocess(tmp_path, tmp_path / "out", tmp_path / "bad", params())
    (tmp_path / "faces.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(SourceError, match="cannot be read as the raw table"):
        preprocess(tmp_path, tmp_path / "out", tmp_path / "bad", params())


def test_a_kill_in_the_middle_leaves_earlier_outputs_and_a_second_start_works(tmp_path: Path) -> None:
    rows = unsplit()
    run(tmp_path, rows)
    earlier = content(tmp_path)
    code = (
        "import sys; from pathlib import Path; from fer_pipeline.datasets.preprocessing import preprocess; "
        "from fer_pipeline.params import PreprocessParams; root = Path(sys.argv[1]); "
        f"preprocess(root / 'raw', root / 'out', root / 'bad', PreprocessParams(master={MASTER!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out.new-*/scratch/parsed/*")):
        assert process.poll() is None, "preprocess ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".out.new-*"))
    assert content(tmp_path) == earlier
    run(tmp_path, rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "out", "raw"]
    assert content(tmp_path) == earlier
