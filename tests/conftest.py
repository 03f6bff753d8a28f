"""Isolation of all tools' homes, and small answer-known data."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import psutil
import pytest

# Before any tool is imported: nothing leaves the machine, and importing TensorFlow stays quiet.
os.environ.update(
    {
        "BENTOML_DO_NOT_TRACK": "True",
        "CUDA_VISIBLE_DEVICES": "",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
)

# A worker of pytest-xdist has no main file, which Spark's client takes for a run of its doctests, and ends it.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = os.devnull


@pytest.fixture(scope="session")
def running_commands() -> Callable[[], list[str]]:
    """Lists the command line of each living process that the tests have started, directly or not."""

    def commands() -> list[str]:
        found = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                found.append(" ".join(process.cmdline()))
        return found

    return commands


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Paths that are not there yet, one for each test; a `mktemp` looks through all that earlier tests left."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def isolated_homes(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh home of every tool for each test, so that no test reads or leaves state."""
    home = next(homes)
    home.mkdir()
    monkeypatch.setenv("BENTOML_HOME", str(home / "bentoml"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    monkeypatch.setenv("PREFECT_HOME", str(home / "prefect"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    yield home
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(None)  # MLflow prefers what a test has set in this way to the environment of a later one


@pytest.fixture(scope="session")
def brightness_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model whose answer is known: class i is the likelier the nearer the mean gray value is to 20 + 35 i.

    Logits are -|mean - (20 + 35 i)| / 10, the temperature is 2.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from fer_pipeline.imaging import ImageSpec
    from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256

    folder = tmp_path_factory.mktemp("brightness-model")
    nodes = [
        helper.make_node("Cast", ["image"], ["gray"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["gray"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Sub", ["mean", "centres"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Mul", ["distance", "scale"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 48, 48, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 7])],
        [
            numpy_helper.from_array(np.arange(20, 231, 35, dtype=np.float32), "centres"),
            numpy_helper.from_array(np.array(-0.1, np.float32), "scale"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / MODEL_FILE)
    ModelInfo(
        network="brightness",
        sha256=file_sha256(folder / MODEL_FILE),
        temperature=2.0,
        image_spec=ImageSpec(),
        synthetic=False,
        data="nothing",
        lineage={"run_id": "abc"},
        metrics={"accuracy": 0.5},
    ).write(folder)
    return folder


@pytest.fixture(scope="session")
def drawn_face() -> npt.NDArray[np.uint8]:
    """RGB (480, 640, 3) with one drawn face at about (217, 123) to (385, 291), which Haar and YuNet both find."""
    head = np.full((200, 200), 200, np.uint8)

    def ellipse(centre: tuple[int, int], half_axes: tuple[int, int], gray: int) -> None:
        cv2.ellipse(head, centre, half_axes, 0, 0, 360, gray, cv2.FILLED)

    ellipse((100, 100), (78, 98), 60)
    ellipse((100, 112), (64, 86), 190)
    for x in (70, 130):
        ellipse((x, 88), (20, 12), 120)
        ellipse((x, 78), (20, 5), 70)
        ellipse((x, 90), (12, 6), 230)
        ellipse((x, 90), (6, 6), 30)
    ellipse((100, 115), (8, 24), 205)
    ellipse((100, 138), (16, 6), 140)
    ellipse((100, 163), (28, 9), 100)
    picture = np.full((480, 640, 3), 150, np.uint8)
    picture[100:300, 200:400] = cv2.GaussianBlur(head, (0, 0), 2.5)[:, :, np.newaxis]
    return picture


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making its tables takes seconds, so tests copy it."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def tracking_store(migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An MLflow database of its own, in use, with the artifacts in tmp_path, which becomes the working directory."""
    import mlflow

    file = tmp_path / "mlflow.db"
    shutil.copy2(migrated_store, file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    mlflow.set_tracking_uri(f"sqlite:///{file}")
    return file


@pytest.fixture
def registered(tmp_path: Path, tracking_store: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with three registered versions of one name, none of them champion; building a bundle only notes its name."""
    from fer_pipeline.experiments import registry, runs
    from fer_pipeline.model_info import ModelInfo
    from fer_pipeline.promotion import packaging

    shutil.copy2(Path(__file__).parents[1] / "params.yaml", tmp_path)
    for number in (1, 2, 3):
        export = tmp_path / f"export{number}"
        shutil.copytree(brightness_model, export)
        info = replace(ModelInfo.read(export), temperature=float(number))
        info.write(export)
        registry.register(export, info, "fer", runs.ensure_run(None, "tiny", {}), {})
    monkeypatch.setattr(packaging, "build", lambda _folder, version, _root, _names, tried: f"fer:{version}-c0de00")
    monkeypatch.setattr(packaging, "is_packaged", lambda _tag: True)
    return tmp_path


@pytest.fixture
def levels(registered: Path) -> Path:
    """The processed table of that workspace: 70 test faces, each of one gray level that the brightness model knows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fer_pipeline import schemas
    from fer_pipeline.config import editing
    from fer_pipeline.imaging import ImageSpec

    shutil.copy2(Path(__file__).parents[1] / "dvc.yaml", registered)
    rows = []
    for row in range(70):
        image = np.full(2304, 20 + 35 * (row % 7), np.uint8).tobytes()
        flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
        words = {"id": f"{row:08d}", "name": f"n{row}", "usage": "test", "split": "test", "perceptual_hash": "0", "votes": None}
        numbers = {"row": row, "label": row % 7, "copies": 1, "copy_rank": 0, "brightness": 0.0, "contrast": 0.0}
        rows.append({**flags, **words, **numbers, "image": image, "content_hash": f"{row:032x}"})
    folder = registered / "data" / "processed"
    (folder / "faces").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.PROCESSED), folder / "faces" / "part-00000.parquet")
    facts = {"image_spec": asdict(ImageSpec()), "source": {"synthetic": False, "name": "levels"}}
    (folder / "facts.json").write_text(json.dumps(facts))
    editing.write_values(registered / "params.yaml", {"promote.max_ece": 1.0, "promote.bootstrap": 200})
    return folder


@pytest.fixture
def note_learned(tmp_path: Path) -> Callable[[str, Iterable[int]], None]:
    """Notes in the export of a run that its model learned from rows of `levels`, by number."""
    from fer_pipeline.data.table.training_images import image_hashes, write_training_images
    from fer_pipeline.experiments import runs

    def note(run_id: str, rows: Iterable[int]) -> None:
        folder = tmp_path / f"learned-{run_id}"
        folder.mkdir()
        write_training_images(folder, image_hashes(f"{row:032x}" for row in rows))
        runs.log_files(run_id, folder, "export")

    return note
