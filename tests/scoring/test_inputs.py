from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.scoring import score
from tests.scoring.conftest import WHERE, table_of

pytestmark = pytest.mark.usefixtures("spark")


@pytest.mark.parametrize("kind", ["missing", "empty", "other files", "no image", "no parquet"])
def test_an_input_without_images_is_an_error(kind: str, tmp_path: Path, model: PortableModel) -> None:
    source = tmp_path / "source"
    if kind != "missing":
        source.mkdir()
    if kind == "no image":
        pq.write_table(pa.table({"pixels": ["1 2 3"]}), source / "x.parquet")
    if kind == "no parquet":
        (source / "x.parquet").write_text("text")
    if kind == "other files":
        for name in ("a.txt", "b.txt", "c"):
            (source / name).touch()
    words = {
        "missing": "is not there",
        "empty": "no pictures",
        "other files": r"; 3 files of other kinds left out \(2 .txt, 1 no",
        "no image": "binary column `image`",
        "no parquet": "as Parquet",
    }
    with pytest.raises(SourceError, match=words[kind]):
        score.score(source, tmp_path / "out", model, master=WHERE)


def test_one_bad_parquet_file_does_not_end_a_run(
    tmp_path: Path, model: PortableModel, brightness_model: Path, drawn_face: UInt8Array
) -> None:
    """Each file is judged by itself; `fer score` names the bad ones and exits with 5."""
    source = tmp_path / "source"
    source.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 200, 200, 3), dtype=np.uint8)
    rows = {"id": [f"face {n}" for n in range(4)], "image": [encode_png(drawn_face), *map(encode_png, noise)]}
    pq.write_table(pa.table(rows), source / "a.parquet")
    pq.write_table(pa.table(rows), source / "damaged.parquet", row_group_size=2, use_dictionary=False)
    content = bytearray((source / "damaged.parquet").read_bytes())
    start = pq.read_metadata(source / "damaged.parquet").row_group(1).column(1).data_page_offset
    content[start : start + 5000] = bytes(5000)
    (source / "damaged.parquet").write_bytes(content)
    (source / "cut.parquet").write_bytes((source / "a.parquet").read_bytes()[:100])
    (source / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"pixels": ["1 2 3"]}), source / "other.parquet")
    arguments = ["score", "--input", str(source), "--output", str(tmp_path / "out"), "--model", str(brightness_model)]
    result = CliRunner().invoke(app, [*arguments, "--spark-master", WHERE])
    assert result.exit_code == 5, result.output
    printed = " ".join(result.output.split())
    assert "11 pictures, 2 faces, 5 pictures that could not be read" in printed
    for note in ("cut.parquet cannot be read as Parquet", "text.parquet cannot be read", "other.parquet has columns ['pixels']"):
        assert note in printed
    errors = {row["file"]: row["error"] for row in table_of(tmp_path / "out") if row["error"]}
    assert set(errors) == {"cut.parquet", "text.parquet", "other.parquet", "row 2", "row 3"}
    assert "damaged.parquet cannot be read here" in errors["row 2"]


def test_files_of_other_kinds_are_counted(tmp_path: Path, model: PortableModel, drawn_face: UInt8Array) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "a.png").write_bytes(encode_png(drawn_face))
    for name in ("b.psd", "below/c.PSD", "below/LICENSE"):
        (source / name).touch()
    progress = score.score(source, tmp_path / "out", model, master=WHERE)
    assert (progress.pictures, progress.errors) == (1, 0)
    assert progress.notes == ("3 files of other kinds left out (2 .psd, 1 no ending)",)
