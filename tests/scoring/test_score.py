from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import ImageSpec, UInt8Array, encode_png
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.scoring import score
from tests.scoring.conftest import WHERE, jpeg, processed_table, table_of

pytestmark = pytest.mark.usefixtures("spark")


def test_each_image_of_a_folder_gives_its_faces_or_an_error(
    pictures: Path, tmp_path: Path, model: PortableModel, brightness_model: Path, drawn_face: UInt8Array
) -> None:
    """Each image of a folder gives its faces or what was wrong."""
    facts = score.score(pictures, tmp_path / "out", model, master=WHERE, chunk=4)
    rows = {row["file"]: row for row in table_of(tmp_path / "out")}
    assert (facts.pictures, facts.faces, facts.errors, facts.chunks) == (9, 2, 6, 3)
    names = {"bomb.png", "cut.jpg", "deep [1]/é *.PNG", "empty.png", "gone.png", "latin-\ufffd.png", "nobody.jpg", "text.png"}
    assert set(rows) == {"a.png", *(f"b/{name}" for name in names)}
    (face,) = Recognizer.load(brightness_model).recognize(drawn_face)
    assert {emotion: rows["a.png"][emotion] for emotion in EMOTIONS} == face.as_dict()["probabilities"]
    assert (rows["a.png"]["emotion"], rows["a.png"]["faces"], rows["a.png"]["face"]) == (face.emotion, 1, 1)
    assert rows["a.png"]["x"] == face.as_dict()["box"]["x"]
    assert rows["b/deep [1]/é *.PNG"]["faces"] == 1
    assert (rows["b/nobody.jpg"]["faces"], rows["b/nobody.jpg"]["face"], rows["b/nobody.jpg"]["error"]) == (0, None, None)
    assert "9000x6000 pixels" in rows["b/bomb.png"]["error"]
    assert rows["b/gone.png"]["error"] == "cannot be read: No such file or directory"
    assert {row["model"] for row in rows.values()} == {"brightness"}


def test_a_killed_run_resumes_after_its_last_finished_chunk(pictures: Path, tmp_path: Path, model: PortableModel) -> None:
    """A run that was killed goes on after its last finished chunk."""
    out = tmp_path / "out"

    def stop(facts: score.ScoreProgress) -> None:
        if facts.chunks == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score.score(pictures, out, model, master=WHERE, chunk=3, on_progress=stop)
    first, second = sorted((out / "faces").glob("*.parquet"))
    (mark,) = (out / "finished").glob(f"{second.stem}.*")
    mark.unlink()  # as if killed after the second table was there, and while the third was written
    (out / "faces" / f".00002-0123456789ab.parquet-{'0' * 32}").write_bytes(b"PAR1")
    before = first.stat().st_mtime_ns, second.stat().st_mtime_ns
    facts = score.score(pictures, out, model, master=WHERE, chunk=3)
    assert (facts.chunks, facts.skipped, facts.pictures) == (3, 1, 9)
    assert first.stat().st_mtime_ns == before[0]
    assert second.stat().st_mtime_ns != before[1]
    assert len(table_of(out)) == 9
    assert not list(out.rglob(".0*"))
    again = score.score(pictures, out, model, master=WHERE, chunk=3)
    assert (again.skipped, again.pictures, again.faces, again.errors) == (3, 9, 2, 6)


def test_changed_and_removed_images_leave_no_old_scores(
    pictures: Path, tmp_path: Path, model: PortableModel, drawn_face: UInt8Array
) -> None:
    """Changed and removed images do not leave their old scores."""
    out = tmp_path / "out"
    score.score(pictures, out, model, master=WHERE, chunk=5)
    (pictures / "b" / "text.png").write_bytes(encode_png(drawn_face))
    (pictures / "b" / "empty.png").unlink()
    facts = score.score(pictures, out, model, master=WHERE, chunk=5)
    assert (facts.pictures, facts.faces) == (8, 3)
    assert len(table_of(out)) == 8


def test_rows_of_the_processed_table_are_scored_unchanged(tmp_path: Path, model: PortableModel, brightness_model: Path) -> None:
    """Rows of the processed table go to the network as they are."""
    images = processed_table(tmp_path / "processed", 20)
    facts = score.score(tmp_path / "processed", tmp_path / "out", model, master=WHERE)
    rows = table_of(tmp_path / "out")
    assert (facts.pictures, facts.faces, facts.errors, facts.chunks) == (20, 20, 0, 2)
    assert [row["file"] for row in rows] == [f"{n:08d}" for n in range(20)]
    classifier = Recognizer.load(brightness_model).classifier
    expected = [classifier.probabilities(image[None, :, :, None])[0].tolist() for image in images]
    np.testing.assert_allclose([[row[emotion] for emotion in EMOTIONS] for row in rows], expected, rtol=0, atol=0.00005001)
    assert {row["x"] for row in rows} == {None}


def test_a_processed_table_of_another_image_spec_is_refused(tmp_path: Path, model: PortableModel) -> None:
    processed_table(tmp_path / "processed", 4, ImageSpec(contrast="clahe"))
    with pytest.raises(ModelError, match="clahe"):
        score.score(tmp_path / "processed", tmp_path / "out", model, master=WHERE)
    assert not (tmp_path / "out").exists()


def test_a_parquet_file_is_scored_and_bad_rows_are_reported(tmp_path: Path, model: PortableModel, drawn_face: UInt8Array) -> None:
    """A parquet file of encoded images is scored and bad rows."""
    images = [encode_png(drawn_face), b"nothing", None, jpeg(np.full((48, 48, 3), 20, np.uint8))]
    pq.write_table(
        pa.table({"name": ["a", "b", None, "d"], "image": pa.array(images, pa.binary())}), tmp_path / "set [x].parquet"
    )
    facts = score.score(tmp_path / "set [x].parquet", tmp_path / "out", model, master=WHERE, faces="crop")
    rows = table_of(tmp_path / "out")
    assert (facts.pictures, facts.faces, facts.errors) == (4, 2, 2)
    assert [row["file"] for row in rows] == ["a", "b", "row 2", "d"]
    assert rows[2]["error"] == "the row holds no picture"
    assert rows[3]["top_emotion"] == "angry"


def test_a_parquet_file_without_rows_gives_a_table_without_rows(tmp_path: Path, model: PortableModel) -> None:
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    facts = score.score(tmp_path / "none.parquet", tmp_path / "out", model, master=WHERE)
    assert (facts.pictures, facts.chunks, table_of(tmp_path / "out")) == (0, 1, [])
