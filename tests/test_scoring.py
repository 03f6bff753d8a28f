"""Batch scoring in Spark against the library's own answers."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.cluster import cluster
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.errors import FerError, ModelError, SourceError, ToolUnavailableError
from fer_pipeline.imaging import ImageSpec, UInt8Array, encode_png
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.schemas import PROCESSED
from fer_pipeline.scoring import score
from fer_pipeline.scoring.faces import score_picture
from fer_pipeline.scoring.outputs import claim
from fer_pipeline.scoring.storage import bucket, storage_location
from fer_pipeline.workspace.files import write_json

WHERE = "local[2]"


@pytest.fixture(scope="module", autouse=True)
def spark() -> Iterator[None]:
    """One session for the tests that run on `WHERE`."""
    with spark_session(WHERE):
        yield


@pytest.fixture(scope="module")
def model(brightness_model: Path) -> PortableModel:
    return PortableModel.read(brightness_model)


@pytest.fixture
def pictures(tmp_path: Path, drawn_face: UInt8Array) -> Path:
    """Two with a face, one without, and six that cannot be read; hidden files and texts beside them."""
    folder = tmp_path / "pictures"
    (folder / "b" / "deep [1]").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.png").write_bytes(encode_png(drawn_face))
    (folder / "b" / "deep [1]" / "é *.PNG").write_bytes(encode_png(drawn_face[:, ::-1]))
    (folder / "b" / "nobody.jpg").write_bytes(jpeg(np.full((90, 120, 3), 125, np.uint8)))
    (folder / "b" / "cut.jpg").write_bytes(jpeg(drawn_face)[:900])
    (folder / "b" / "empty.png").touch()
    (folder / "b" / "text.png").write_text("no picture")
    (folder / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    (folder / "b" / "folder.jpg").mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/b/latin-\xe9.png")).write_bytes(encode_png(drawn_face)[:100])
    (folder / "b" / "bomb.png").write_bytes(bomb())
    (folder / ".hidden" / "a.png").write_bytes(encode_png(drawn_face))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def jpeg(image: UInt8Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (9_000, 6_000)).save(buffer, "PNG")
    return buffer.getvalue()


def table_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "faces").to_pylist()
    return rows


def processed_table(folder: Path, count: int, spec: ImageSpec | None = None) -> UInt8Array:
    """Writes `count` rows like those of preprocess in two files; returns their pictures (N, 48, 48)."""
    images = np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8)
    values = {"split": "test", "label": 3, "content_hash": "h", "perceptual_hash": "p", "copies": 1, "copy_rank": 0}
    flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
    rows = [
        {
            **values,
            **flags,
            "id": f"{n:08d}",
            "row": n,
            "name": f"x:{n}",
            "image": image.tobytes(),
            "brightness": 1,
            "contrast": 1,
        }
        for n, image in enumerate(images)
    ]
    (folder / "faces").mkdir(parents=True)
    for number, part in enumerate((rows[: count // 2], rows[count // 2 :])):
        pq.write_table(
            pa.Table.from_pylist(part, schema=PROCESSED), folder / "faces" / f"part-{number:05d}.parquet", row_group_size=8
        )
    write_json(folder / "facts.json", {"source": {"name": "x"}, "image_spec": vars(spec or ImageSpec())})
    return images


def test_each_picture_of_a_folder_gives_its_faces_or_what_was_wrong(
    pictures: Path, tmp_path: Path, model: PortableModel, brightness_model: Path, drawn_face: UInt8Array
) -> None:
    facts = score.score(pictures, tmp_path / "out", model, master=WHERE, chunk=4)
    rows = {row["picture"]: row for row in table_of(tmp_path / "out")}
    assert (facts.pictures, facts.faces, facts.errors, facts.chunks) == (9, 2, 6, 3)
    names = {"bomb.png", "cut.jpg", "deep [1]/é *.PNG", "empty.png", "gone.png", "latin-\ufffd.png", "nobody.jpg", "text.png"}
    assert set(rows) == {"a.png", *(f"b/{name}" for name in names)}
    (face,) = Recognizer.load(brightness_model).recognize(drawn_face)
    assert tuple(rows["a.png"][emotion] for emotion in EMOTIONS) == face.probabilities
    assert (rows["a.png"]["emotion"], rows["a.png"]["faces"], rows["a.png"]["face"]) == (face.emotion, 1, 1)
    assert rows["a.png"]["x"] == face.as_dict()["box"]["x"]
    assert rows["b/deep [1]/é *.PNG"]["faces"] == 1
    assert (rows["b/nobody.jpg"]["faces"], rows["b/nobody.jpg"]["face"], rows["b/nobody.jpg"]["error"]) == (0, None, None)
    assert "9000x6000 pixels" in rows["b/bomb.png"]["error"]
    assert rows["b/gone.png"]["error"] == "cannot be read: No such file or directory"
    assert {row["network"] for row in rows.values()} == {"brightness"}


def test_a_run_that_was_killed_goes_on_after_its_last_finished_chunk(
    pictures: Path, tmp_path: Path, model: PortableModel
) -> None:
    out = tmp_path / "out"

    def stop(facts: score.ScoreFacts) -> None:
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


def test_changed_and_removed_pictures_do_not_leave_their_old_scores(
    pictures: Path, tmp_path: Path, model: PortableModel, drawn_face: UInt8Array
) -> None:
    out = tmp_path / "out"
    score.score(pictures, out, model, master=WHERE, chunk=5)
    (pictures / "b" / "text.png").write_bytes(encode_png(drawn_face))
    (pictures / "b" / "empty.png").unlink()
    facts = score.score(pictures, out, model, master=WHERE, chunk=5)
    assert (facts.pictures, facts.faces) == (8, 3)
    assert len(table_of(out)) == 8


def test_rows_of_the_processed_table_go_to_the_network_as_they_are(
    tmp_path: Path, model: PortableModel, brightness_model: Path
) -> None:
    images = processed_table(tmp_path / "processed", 20)
    facts = score.score(tmp_path / "processed", tmp_path / "out", model, master=WHERE)
    rows = table_of(tmp_path / "out")
    assert (facts.pictures, facts.faces, facts.errors, facts.chunks) == (20, 20, 0, 2)
    assert [row["picture"] for row in rows] == [f"{n:08d}" for n in range(20)]
    classifier = Recognizer.load(brightness_model).classifier
    expected = [classifier.probabilities(image[None, :, :, None])[0].tolist() for image in images]
    assert [[row[emotion] for emotion in EMOTIONS] for row in rows] == expected
    assert {row["x"] for row in rows} == {None}


def test_a_processed_table_of_another_image_spec_is_refused(tmp_path: Path, model: PortableModel) -> None:
    processed_table(tmp_path / "processed", 4, ImageSpec(contrast="clahe"))
    with pytest.raises(ModelError, match="clahe"):
        score.score(tmp_path / "processed", tmp_path / "out", model, master=WHERE)
    assert not (tmp_path / "out").exists()


def test_a_parquet_file_of_encoded_pictures_is_scored_and_bad_rows_are_told(
    tmp_path: Path, model: PortableModel, drawn_face: UInt8Array
) -> None:
    images = [encode_png(drawn_face), b"nothing", None, jpeg(np.full((48, 48, 3), 20, np.uint8))]
    pq.write_table(
        pa.table({"name": ["a", "b", None, "d"], "image": pa.array(images, pa.binary())}), tmp_path / "set [x].parquet"
    )
    facts = score.score(tmp_path / "set [x].parquet", tmp_path / "out", model, master=WHERE, faces="crop")
    rows = table_of(tmp_path / "out")
    assert (facts.pictures, facts.faces, facts.errors) == (4, 2, 2)
    assert [row["picture"] for row in rows] == ["a", "b", "row 2", "d"]
    assert rows[2]["error"] == "the row holds no picture"
    assert rows[3]["top_emotion"] == "angry"


def test_a_parquet_file_without_rows_gives_a_table_without_rows(tmp_path: Path, model: PortableModel) -> None:
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    facts = score.score(tmp_path / "none.parquet", tmp_path / "out", model, master=WHERE)
    assert (facts.pictures, facts.chunks, table_of(tmp_path / "out")) == (0, 1, [])


def test_a_store_that_fails_ends_the_run_and_does_not_call_its_pictures_unreadable(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "_TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ToolUnavailableError, match=r"s3://faces/a\.png could not be used"):
        score_picture(Recognizer.load(brightness_model), "detect", 0, "a.png", b"s3://faces/a.png", None)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_core_and_two_give_equal_tables(pictures: Path, tmp_path: Path, model: PortableModel) -> None:
    score.score(pictures, tmp_path / "two", model, master=WHERE)
    script = (
        "from pathlib import Path; from fer_pipeline.scoring import score\n"
        "from fer_pipeline.inference.model_files import PortableModel\n"
        f"score.score(Path({str(pictures)!r}), Path('one'), PortableModel(files={model.files!r}), master='local[1]')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert tables_of(tmp_path / "one") == tables_of(tmp_path / "two")


def tables_of(out: Path) -> dict[str, pa.Table]:
    return {path.name: pq.ParquetFile(path).read() for path in (out / "faces").rglob("*.parquet")}


def test_an_output_of_another_run_is_left_alone(
    pictures: Path, tmp_path: Path, model: PortableModel, brightness_model: Path
) -> None:
    out = tmp_path / "out"
    score.score(pictures, out, model, master=WHERE)
    before = tables_of(out)
    with pytest.raises(FerError, match=r"threshold 0\.4 instead of 0\.9"):
        score.score(pictures, out, model, master=WHERE, threshold=0.9)
    assert tables_of(out) == before
    with pytest.raises(FerError, match="holds other files"):
        score.score(pictures, shutil.copytree(brightness_model, tmp_path / "used"), model, master=WHERE)


@pytest.mark.parametrize("kind", ["missing", "empty", "no image", "no parquet"])
def test_an_input_without_pictures_is_told(kind: str, tmp_path: Path, model: PortableModel) -> None:
    source = tmp_path / "source"
    if kind != "missing":
        source.mkdir()
    if kind == "no image":
        pq.write_table(pa.table({"pixels": ["1 2 3"]}), source / "x.parquet")
    if kind == "no parquet":
        (source / "x.parquet").write_text("text")
    words = {"missing": "is not there", "empty": "no pictures", "no image": "binary column `image`", "no parquet": "as Parquet"}
    with pytest.raises(SourceError, match=words[kind]):
        score.score(source, tmp_path / "out", model, master=WHERE)


def test_the_flow_scores_with_the_bundle_of_the_workspace_and_fails_with_the_message(
    tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import scoring as flow

    told: list[str] = []
    monkeypatch.setattr(flow, "create_markdown_artifact", lambda text, **_: told.append(text))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(encode_png(drawn_face))
    missing = flow.score_pictures.fn("set", "out", master=WHERE)
    assert "no exported model" in missing.message
    shutil.copytree(brightness_model, tmp_path / "data" / "bundle")
    facts = flow.score_pictures.fn("set", "out", master=WHERE)
    assert (facts.pictures, facts.faces) == (1, 1)
    assert "1 pictures, 1 faces" in told[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_of_two_workers_gives_the_tables_of_local_mode(pictures: Path, tmp_path: Path, brightness_model: Path) -> None:
    processed_table(tmp_path / "processed", 200)
    fer = [str(Path(sys.executable).with_name("fer")), "score", "--model", str(brightness_model)]
    with cluster(tmp_path) as running:
        for name in (pictures.name, "processed"):
            command = [*fer, "--input", name, "--output", f"cluster-{name}", "--spark-master", running.url]
            subprocess.run(command, cwd=tmp_path, check=True, timeout=240)
            score.score(tmp_path / name, tmp_path / f"local-{name}", PortableModel.read(brightness_model), master=WHERE)
            assert tables_of(tmp_path / f"cluster-{name}") == tables_of(tmp_path / f"local-{name}")
    assert len([path for path in (tmp_path / "work").glob("app-*/*") if path.is_dir()]) == 4  # two executors for each of two runs


def test_scores_of_an_earlier_layout_are_refused_since_readers_would_count_them_twice(tmp_path: Path) -> None:
    run = {"input": "photos", "model": "abc"}
    write_json(tmp_path / "old" / "run.json", run)
    with pytest.raises(FerError, match=r"layout None instead of 2.*give another --output"):
        claim(storage_location(tmp_path / "old"), run)
    claim(storage_location(tmp_path / "new"), run)
    claim(storage_location(tmp_path / "new"), run)
