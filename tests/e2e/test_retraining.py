"""Accepted corrections start a training: `fer feedback accept`, Prefect's server, and the first stage of the run it asks for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dvc.repo import Repo
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from typer.testing import CliRunner

from fer_pipeline import schemas
from fer_pipeline.cli.app import app as fer
from fer_pipeline.config.editing import write_values
from fer_pipeline.config.params import load_params
from fer_pipeline.feedback.corrections import Correction, Corrections
from fer_pipeline.imaging import content_hash, encode_png, perceptual_hash
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.workspace import dvc
from flows.feedback import ACCEPTED_EVENT

ROOT = Path(__file__).parents[2]
THRESHOLD = 50  # of the deployment train, in prefect.yaml
PREFECT = str(Path(sys.executable).with_name("prefect"))


def face(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace of this code with a source, the processed table of an earlier run, and a server that knows the deployment."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "fer_pipeline", root / "fer_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "data").mkdir()
    for name in ("params.yaml", "profiles.yaml", "dvc.yaml", "prefect.yaml", "data/.gitignore"):
        shutil.copy2(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    Repo.init(str(root)).close()
    lines = [f"{seed % 7},{' '.join(map(str, face(seed).ravel()))},Training" for seed in range(7)]
    (root / "train.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    write_values(root / "params.yaml", {"fetch.source": "train.csv"})
    write_processed(root / "data" / "processed")
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PWD", str(root))
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="local", type="process"))
        environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
        deployed = subprocess.run(
            [PREFECT, "--no-prompt", "deploy", "--name", "train"], env=environment, capture_output=True, text=True, check=False
        )
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield root


def write_processed(folder: Path) -> None:
    """What `fer feedback` compares corrections with."""
    rows = []
    for row, split in enumerate(schemas.SPLITS):
        flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
        numbers = {"row": row, "label": 0, "copies": 1, "copy_rank": 0, "brightness": 0.0, "contrast": 0.0}
        hashes = {"content_hash": content_hash(face(row)), "perceptual_hash": perceptual_hash(face(row))}
        words = {"id": f"{row:08d}", "name": f"n{row}", "usage": split, "split": split, "votes": None}
        rows.append({**flags, **numbers, **hashes, **words, "image": face(row).tobytes()})
    (folder / "faces").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.PROCESSED), folder / "faces" / "part-00000.parquet")


def give(root: Path, seeds: range) -> None:
    """Corrections by people, with the face, that wait for the operator."""
    now = datetime.now(UTC).replace(microsecond=0)
    for seed in seeds:
        corrected = EMOTIONS[seed % 7]
        correction = Correction(
            id=f"{seed:032x}",
            time=now,
            expires=now + timedelta(days=30),
            network="compact",
            version="0123456789ab",
            answered=EMOTIONS[(seed + 1) % 7],
            confidence=0.5,
            corrected=corrected,
            sender=f"{seed:012x}",
            picture=encode_png(face(seed)),
            size=48.0,
        )
        assert Corrections(root / "data" / "feedback-inbox").put(correction)


def accept() -> str:
    done = CliRunner().invoke(fer, ["feedback", "accept", "--all-passing"])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def counted() -> int:
    """Events of accepted corrections that the server has stored."""
    with get_client(sync_client=True) as client:
        body = {"filter": EventFilter(event=EventNameFilter(name=[ACCEPTED_EVENT])).model_dump(mode="json")}
        return int(client.request("POST", "/events/filter", json=body).json()["total"])


def asked_for() -> list[FlowRun]:
    """Runs of the deployment train but those that its schedule plans."""
    with get_client(sync_client=True) as client:
        return [run for run in client.read_flow_runs() if not run.auto_scheduled]


def wait_until(happened: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.5)


@pytest.mark.timeout(300, method="thread")  # Prefect uses the alarm signal, as pytest-timeout does by default
def test_the_fiftieth_correction_asks_for_a_training(workspace: Path) -> None:
    """Not shown here: a worker taking the run, and the network learning from the rows (`make demo-lifecycle` plays both)."""
    give(workspace, range(100, 99 + THRESHOLD))
    assert f"{THRESHOLD - 1} accepted" in accept()
    wait_until(lambda: counted() == THRESHOLD - 1)
    assert asked_for() == []
    give(workspace, range(99 + THRESHOLD, 100 + THRESHOLD))
    assert "1 accepted" in accept()
    wait_until(asked_for)

    (run,) = asked_for()
    assert run.state is not None
    assert run.state.is_scheduled()
    with get_client(sync_client=True) as client:
        assert run.deployment_id is not None
        deployment = client.read_deployment(run.deployment_id)
    assert deployment.entrypoint == "flows/training.py:train_champion"
    assert run.parameters == deployment.parameters == {"wait_seconds": 14400}  # no data, no profile: params.yaml as it is

    # The run's stages, in order, are those of DVC; the first takes the version that the acceptance wrote into params.yaml.
    assert dvc.stage_names(workspace)[0] == "fetch"
    version = load_params(workspace / "params.yaml").fetch.feedback
    assert version != "none"
    assert dvc.reproduce(workspace, "fetch") is dvc.Outcome.RAN
    facts = json.loads((workspace / "data" / "raw" / "source.json").read_text())
    assert facts["rows_per_usage"] == {"Feedback": THRESHOLD, "Training": 7}
    assert dvc.reproduce(workspace, "fetch") is dvc.Outcome.UNCHANGED
