"""MLflow's artifacts, DVC's data, pictures and scores in an S3-compatible store: a real server, spoken to as a team would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import S3FileSystem

from benchmarks.cluster import cluster
from benchmarks.preprocessing import raw_table
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.experiments import registry, runs
from fer_pipeline.experiments.exports import local_export
from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.schemas import SPLITS
from fer_pipeline.scoring import score
from fer_pipeline.workspace import dvc as versioning
from fer_pipeline.workspace.server_process import free_port, running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

pytest.importorskip("moto.server", reason="needs the development packages")
boto3 = pytest.importorskip("boto3", reason="needs the extra: make test-slow")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a running store with the buckets mlflow, dvc and faces, whose address and keys are in the environment."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "only-for-this-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "MLFLOW_S3_ENDPOINT_URL": address,
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with running_server(command, tmp_path / "store.log") as server:
        server.wait_until_ready(f"{address}/moto-api/")
        client = boto3.client("s3")
        for name in ("mlflow", "dvc", "faces"):
            client.create_bucket(Bucket=name)
        yield client


def keys(store: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in store.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_an_mlflow_server_keeps_models_in_the_store(
    store: Any, brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/server.db",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with running_server(command, tmp_path / "mlflow.log", environment={**os.environ, **environment}) as server:
        server.wait_until_ready(f"{address}/health")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.chdir(tmp_path)
        mlflow.set_tracking_uri(address)
        info = ModelInfo.read(brightness_model)
        version, new = registry.register(brightness_model, info, "fer", runs.ensure_run(None, "brightness", {}), {})
        assert new
        registry.set_alias(version, registry.CHAMPION)
        champion = registry.by_alias("fer", registry.CHAMPION)
        assert champion is not None
        down = local_export(champion)
    assert [key.rsplit("/", 1)[-1] for key in keys(store, "mlflow")].count("model.onnx") == 1
    assert (down / "model.onnx").read_bytes() == (brightness_model / "model.onnx").read_bytes()
    assert not (tmp_path / "mlruns").exists()


def test_a_data_version_goes_to_the_store_and_comes_back(store: Any, tmp_path: Path) -> None:
    pytest.importorskip("dvc_s3", reason="needs the extra: make test-slow")
    root = tmp_path / "workspace"
    root.mkdir()

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True, capture_output=True, text=True)

    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    dvc("init", "--quiet")
    dvc("remote", "add", "--default", "objects", "s3://dvc/fer")
    source = tmp_path / "faces.csv"
    source.write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    version = versioning.add_source(root, [source])
    dvc("push")
    assert any(key.endswith(version[2:]) for key in keys(store, "dvc"))

    for path in (root / "data" / "source").iterdir():
        path.unlink()
    (root / "data" / "source").rmdir()
    subprocess.run(["rm", "-r", str(root / ".dvc" / "cache")], check=True)
    dvc("pull")
    assert (root / "data" / "source" / "faces.csv").read_text() == source.read_text()


def test_pictures_of_a_bucket_are_scored_after_a_kill(
    store: Any, tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array
) -> None:
    """Pictures of a bucket are scored and a killed run goes on."""
    face = encode_png(drawn_face)
    for number in range(7):
        store.put_object(Bucket="faces", Key=f"pictures/d{number % 2}/é {number}.png", Body=face + bytes(number))
    store.put_object(Bucket="faces", Key="pictures/bad.jpg", Body=b"no picture")
    command = score_command(brightness_model, "s3a://faces/pictures", "s3://faces/scores")
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not [key for key in keys(store, "faces") if key.startswith("scores/finished/")]:
        assert process.poll() is None
        time.sleep(0.2)
    process.kill()
    process.wait()
    before = {
        entry["Key"]: entry["LastModified"] for entry in store.list_objects_v2(Bucket="faces", Prefix="scores/f")["Contents"]
    }
    marks = {key for key in before if key.startswith("scores/finished/")}
    assert len(marks) < 4

    store.put_object(Bucket="faces", Key="pictures/d1/é 5.png", Body=face)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"8 pictures, 7 faces, 1 pictures that could not be read, {len(marks)} of 4 chunks finished before" in done.stdout
    after = {
        entry["Key"]: entry["LastModified"] for entry in store.list_objects_v2(Bucket="faces", Prefix="scores/f")["Contents"]
    }
    assert {key: after[key] for key in marks} == {key: before[key] for key in marks}
    rows = pq.read_table(
        "faces/scores/faces", filesystem=S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    ).to_pylist()
    assert sorted(row["picture"] for row in rows) == ["bad.jpg", *sorted(f"d{n % 2}/é {n}.png" for n in range(7))]

    score.score(download(store, "pictures/", tmp_path), tmp_path / "local", PortableModel.read(brightness_model), chunk=2)
    local = pq.read_table(tmp_path / "local" / "faces").to_pylist()
    assert sorted(rows, key=itemgetter("picture")) == sorted(local, key=itemgetter("picture"))


def score_command(model: Path, source: str, out: str) -> list[str]:
    command = [sys.executable, "-c", "from fer_pipeline.cli import main; main()", "score", "--model", str(model)]
    return [*command, "--input", source, "--output", out, "--chunk", "2", "--spark-master", "local[2]"]


def download(store: Any, prefix: str, folder: Path) -> Path:
    for key in keys(store, "faces"):
        if key.startswith(prefix):
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            store.download_file("faces", key, str(folder / key))
    return folder / prefix


def test_a_parquet_file_of_a_bucket_is_scored_where_it_lies(
    store: Any, tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array
) -> None:
    table = pa.table({"name": ["a", None, "c"], "image": pa.array([encode_png(drawn_face), None, b"x"], pa.large_binary())})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=1)
    store.upload_file(str(tmp_path / "set.parquet"), "faces", "set.parquet")
    command = score_command(brightness_model, "s3://faces/set.parquet", "s3://faces/table-scores")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "3 pictures, 1 faces, 2 pictures that could not be read" in done.stdout
    (key,) = (key for key in keys(store, "faces") if key.startswith("table-scores/faces/"))
    store.download_file("faces", key, str(tmp_path / "scores.parquet"))
    assert [row["picture"] for row in pq.read_table(tmp_path / "scores.parquet").to_pylist()] == ["a", "row 1", "c"]


ON_SPARK = """
import sys
from pathlib import Path
from fer_pipeline.config.params import PreprocessParams
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.data.validate import reading, suite
from fer_pipeline.config.params import ValidateParams
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.schemas import SPLITS
from fer_pipeline.scoring import score

master, raw, output, model, out = sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])
reading.HERE_ROWS = 0
params = ValidateParams(max_class_deviation=0.5, min_mean_contrast=0.0, max_leak_share=1.0, brightness_range=[0.0, 255.0])
with spark_session(master):
    preprocess(raw, out / "processed", out / "quarantine", PreprocessParams(spark_master=master, output=output))
    suite.validate(out / "processed", out / "quarantine", out / "report", params, master)
    score.score(out / "processed", out / "scores", PortableModel.read(model), master=master)
"""


def test_a_cluster_writes_to_the_store_what_local_mode_writes(store: Any, tmp_path: Path, brightness_model: Path) -> None:
    """The data path on two workers with a bucket gives the rows, verdicts and scores of one machine."""
    raw = raw_table(tmp_path / "raw", 9_000)
    (tmp_path / "on_spark.py").write_text(ON_SPARK)  # without a main file, Spark's client takes the run for its doctests
    with cluster(tmp_path) as running:
        for name, master, output in (("here", "local[2]", "workspace"), ("there", running.url, "s3://faces/data")):
            (tmp_path / name).mkdir()
            words = [master, str(raw), output, str(brightness_model), str(tmp_path / name)]
            subprocess.run([sys.executable, str(tmp_path / "on_spark.py"), *words], check=True, timeout=400)
    here, there = (ProcessedTable.open(tmp_path / name / "processed") for name in ("here", "there"))
    assert not (tmp_path / "there" / "processed" / "faces").exists()
    assert len([key for key in keys(store, "faces") if key.startswith("data/faces/part-")]) == 2
    assert [key for key in keys(store, "faces") if "scratch" in key] == []
    for split in SPLITS:
        assert here.split(split).fingerprint == there.split(split).fingerprint
        assert here.split(split).ids.tolist() == there.split(split).ids.tolist()
    first, second = ((tmp_path / name / "report" / "validation.json").read_bytes() for name in ("here", "there"))
    assert first == second
    found = [pq.read_table(tmp_path / name / "scores" / "faces").to_pylist() for name in ("here", "there")]
    scores = [sorted(map(str, rows)) for rows in found]
    assert len(scores[0]) >= 9_000 - 1_400
    assert scores[0] == scores[1]
