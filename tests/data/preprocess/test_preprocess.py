"""Preprocess in a real local Spark, on made-up tables with known answers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fer_pipeline import imaging, schemas
from fer_pipeline.config.params import ValidateParams
from fer_pipeline.data.preprocess.metadata import PreprocessMetadata
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.data.table.files import FILES_FILE
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.validate.suite import validate
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.imaging import ImageSpec
from tests.data.made_rows import MASTER, Row, content, face, left_out, params, read, row, run, unsplit, write_raw

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreprocessMetadata]:
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


def test_each_damaged_row_goes_to_quarantine_with_its_reason(damaged: tuple[Path, PreprocessMetadata]) -> None:
    folder, metadata = damaged
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
    assert pq.read_schema(folder / "bad" / "rows.parquet").equals(schemas.QUARANTINE)
    assert metadata.quarantined == {
        "image": 2,
        "label": 2,
        "no-image": 1,
        "pixel-count": 1,
        "pixel-range": 1,
        "pixel-syntax": 1,
        "usage": 2,
        "votes": 2,
    }
    assert json.loads((folder / "bad" / "facts.json").read_text())["quarantined"] == metadata.quarantined


def test_good_rows_come_out_with_exact_pictures_and_splits(damaged: tuple[Path, PreprocessMetadata]) -> None:
    folder, metadata = damaged
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
    assert metadata.rows_in == 17
    assert metadata.rows_out == 5
    assert metadata.split_rule == "train, validation and test as the source says"


def test_the_files_have_the_agreed_schema_names_and_nothing_else(damaged: tuple[Path, PreprocessMetadata]) -> None:
    folder, _ = damaged
    files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file() and "raw" not in path.parts]
    assert files == ["bad/facts.json", "bad/rows.parquet", "out/faces/part-00000.parquet", "out/facts.json"]
    assert pq.read_schema(folder / "out" / "faces" / "part-00000.parquet").equals(schemas.PROCESSED)
    metadata = json.loads((folder / "out" / "facts.json").read_text())
    assert metadata["source"]["synthetic"] is True
    assert ImageSpec.from_dict(metadata["image_spec"]).fingerprint == metadata["image_spec_fingerprint"]


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Row], Path]:
    """Rows without splits, one of them bad, and what came of them, balanced by half."""
    folder = tmp_path_factory.mktemp("divided")
    rows = [*unsplit(), row(None, "1", None)]
    run(folder, rows, oversample_to=0.5)
    return rows, folder


@pytest.mark.slow
def test_equal_input_gives_equal_files(tmp_path: Path, spark: SparkSession, divided: tuple[list[Row], Path]) -> None:
    """Equal input gives equal files however the work is divided."""
    rows, one = divided
    names = ("spark.sql.shuffle.partitions", "spark.sql.files.maxPartitionBytes")
    before = {name: spark.conf.get(name) for name in names}
    try:
        for name, value in zip(names, ("3", "100000"), strict=True):
            spark.conf.set(name, value)
        preprocess(write_raw(tmp_path / "raw", rows, group=20), tmp_path / "out", tmp_path / "bad", params(oversample_to=0.5))
    finally:
        for name, value in before.items():
            spark.conf.set(name, value or "")
    assert content(one) == content(tmp_path)


def test_oversampling_adds_marked_copies_to_train_alone(tmp_path: Path) -> None:
    """Balancing adds marked copies to train and enhancement reaches the picture only."""
    rows = [row(face(number), str(number % 10 // 9), "Training") for number in range(20)]  # 18 of class 0, 2 of class 1
    rows += [row(face(50), "1", "PublicTest"), row(face(51), "1", "PrivateTest")]
    metadata = run(tmp_path, rows, oversample_to=0.5, denoise="median", contrast="clahe")
    assert metadata.augmented == 7
    assert metadata.splits["train"]["disgust"] == 9
    assert metadata.rows_out == metadata.rows_in + 7
    found = read(tmp_path)
    added = {key: value for key, value in found.items() if value["augmented"]}
    assert {key.split("-")[0] for key in added} == {"00000009", "00000019"}
    assert all(value["split"] == "train" and value["label"] == 1 for value in added.values())
    assert len({value["content_hash"] for value in found.values()}) == metadata.rows_out
    plain = found["00000000"]
    assert plain["image"] == imaging.enhance(face(0), ImageSpec(denoise="median", contrast="clahe")).tobytes()
    assert plain["content_hash"] == imaging.content_hash(face(0))
    assert plain["brightness"] == pytest.approx(face(0).mean(), abs=1e-3)


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
def test_a_source_without_usable_rows_leaves_earlier_outputs(tmp_path: Path, rows: list[Row], message: str) -> None:
    """A source without usable rows fails and leaves earlier outputs."""
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
    with pytest.raises(SourceError, match=r"cannot be read as Parquet: (?s:.*); run `fer fetch` again"):
        preprocess(tmp_path, tmp_path / "out", tmp_path / "bad", params())


def test_a_table_in_a_store_is_that_of_the_workspace(damaged: tuple[Path, PreprocessMetadata], tmp_path: Path) -> None:
    """A table in a shared folder has the rows and quarantine of the workspace; its folder lists the files."""
    folder, _ = damaged
    for part in ("out", "bad"):
        (tmp_path / part).mkdir()
    store = tmp_path / "store"
    preprocess(folder / "raw", tmp_path / "out", tmp_path / "bad", params(output=str(store)))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["facts.json", FILES_FILE]
    assert sorted(path.name for path in store.iterdir()) == ["faces", "quarantine"], "nothing of the scratch files is left"
    found, expected = (ProcessedTable.open(place / "out").split("train") for place in (tmp_path, folder))
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.fingerprint == expected.fingerprint
    reports = []
    for place in (tmp_path, folder):
        with pytest.raises(DataQualityError, match="classes in train"):
            validate(place / "out", place / "bad", tmp_path / "report", ValidateParams())
        reports.append((tmp_path / "report" / "validation.json").read_bytes())
    assert reports[0] == reports[1]
    listed = (tmp_path / "out" / FILES_FILE).read_bytes()
    preprocess(folder / "raw", tmp_path / "out", tmp_path / "bad", params(output=str(store)))
    assert (tmp_path / "out" / FILES_FILE).read_bytes() == listed


@pytest.mark.slow
def test_a_killed_run_leaves_earlier_outputs(tmp_path: Path, divided: tuple[list[Row], Path]) -> None:
    """A kill in the middle leaves earlier outputs and a second start works."""
    rows, folder = divided
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    earlier = content(tmp_path)
    code = (
        "import sys; from pathlib import Path; from fer_pipeline.data.preprocess.preprocess import preprocess; "
        "from fer_pipeline.config.params import PreprocessParams; root = Path(sys.argv[1]); "
        f"preprocess(root / 'raw', root / 'out', root / 'bad', PreprocessParams(spark_master={MASTER!r}, oversample_to=0.5))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out.new-*/scratch-*/*")):
        assert process.poll() is None, "preprocess ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".out.new-*"))
    assert content(tmp_path) == earlier
    run(tmp_path, rows, oversample_to=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "out", "raw"]
    assert content(tmp_path) == earlier
