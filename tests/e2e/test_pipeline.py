"""The main job on a few hundred synthetic faces, through DVC, Prefect, MLflow and BentoML, in a workspace of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.testing.utilities import prefect_test_harness

from fer_pipeline.config import editing
from fer_pipeline.errors import FerError
from fer_pipeline.evaluation.stored_metrics import DECIDING, read_metrics
from fer_pipeline.experiments import runs
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion.summary import Summary
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive
from flows.training import train_champion

ROOT = Path(__file__).parents[2]
FACES = 350
STAGES = ("fetch", "preprocess", "validate", "train", "evaluate", "export", "card")

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Run:
    """What one flow run left."""

    summary: Summary
    states: dict[str, str]
    artifacts: dict[str, str]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone with small parameters; the tools' homes lie beside it."""
    home = tmp_path_factory.mktemp("e2e")
    root = home / "repo"
    root.mkdir()
    for name in ("dvc.yaml", "params.yaml", "profiles.yaml", "bentofile.yaml", "pyproject.toml"):
        shutil.copy2(ROOT / name, root)
    for name in ("fer_pipeline", "flows"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvc/config", ".dvc/.gitignore", "data/.gitignore", "data/synthetic.yaml"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    small = {
        # So few faces are learnt with small steps and hardly any augmentation.
        "train": {"epochs": 12, "low_resolution_epochs": 0, "batch_size": 16, "optimizer": "adamw", "lr": 0.002},
        "train.augment": {
            "rotate_degrees": 0.0,
            "scale": 0.0,
            "shift": 0.03,
            "brightness": 0.0,
            "contrast": 0.0,
            "erase_probability": 0.0,
        },
        "promote.max_ece": 1.0,
        "evaluate.bootstrap": 100,
        "validate.min_rows_per_class": 1,
    }
    editing.write_values(root / "params.yaml", small)
    (root / "data" / "synthetic.yaml").write_text(f"faces: {FACES}\nseed: 0\n")
    with pytest.MonkeyPatch.context() as patch, prefect_test_harness(server_startup_timeout=120):
        patch.chdir(root)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("BENTOML_HOME", str(home / "bentoml"))
        yield root


def run(workspace: Path) -> Run:
    state = train_champion(return_state=True)
    summary = state.result()
    assert isinstance(summary, Summary)
    run_id = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        only = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
        tasks = client.read_task_runs(flow_run_filter=only)
        artifacts = client.read_artifacts(flow_run_filter=only)
    return Run(
        summary, {task.name: str(task.state_name) for task in tasks}, {str(item.key): str(item.data) for item in artifacts}
    )


@pytest.fixture(scope="module")
def first(workspace: Path) -> Run:
    return run(workspace)


@pytest.fixture(scope="module")
def second(workspace: Path, first: Run) -> Run:
    return run(workspace)


@pytest.fixture(scope="module")
def third(workspace: Path, second: Run) -> Run:
    editing.write_values(workspace / "params.yaml", {"evaluate.bootstrap": 120})
    return run(workspace)


def test_raw_faces_become_a_packaged_champion(workspace: Path, first: Run) -> None:
    assert first.states == dict.fromkeys(
        [*STAGES, "register", "gate", "package", "decision", "set champion", "summary"], "Completed"
    )
    assert first.summary.decision.promoted
    assert first.summary.bundle is not None
    for page in ("data/index.html", "evaluation/report.html", "card/model_card.html"):
        assert (workspace / "data" / "reports" / page).stat().st_size > 10_000


def test_the_summary_is_an_artifact(workspace: Path, first: Run) -> None:
    """The summary is an artifact with figures gate and next steps."""
    text = first.artifacts["fer-summary"]
    for word in ("accuracy", "macro-F1", "fer version 1: promoted", "fer ui mlflow", "fer serve", "not for real pictures"):
        assert word in text
    assert f"{workspace}/data/reports/evaluation/report.html`" in text
    assert "| emotion | pictures | recall |" in first.artifacts["fer-card"]
    assert '"result": "pass"' in first.artifacts["fer-data-checks"]
    assert not any("](file:" in text for text in first.artifacts.values())


def test_the_decision_of_the_gate_is_an_artifact_and_a_page(workspace: Path, first: Run) -> None:
    assert "fer version 1: promoted" in first.artifacts["fer-gate"]
    assert f"{workspace}/data/reports/gate/index.html`" in first.artifacts["fer-gate"]
    assert "promoted" in (workspace / "data/reports/gate/index.html").read_text()


def test_the_champion_says_where_it_comes_from(workspace: Path, first: Run) -> None:
    info = ModelInfo.read(workspace / "data" / "bundle")
    assert info.synthetic
    assert set(info.lineage) >= {"run_id", "data_version", "git_commit", "params_hash"}
    assert info.lineage["data_version"].endswith(".dir")
    assert len(info.lineage["git_commit"]) == 40


def test_rows_in_are_rows_out_and_quarantined(workspace: Path, first: Run) -> None:
    raw = json.loads((workspace / "data" / "raw" / "source.json").read_text())
    facts = json.loads((workspace / "data" / "processed" / "facts.json").read_text())
    assert raw["rows"] == facts["rows_in"] == FACES
    assert facts["rows_out"] + sum(facts["quarantined"].values()) + sum(facts["removed_by_choice"].values()) == FACES
    assert facts["source"]["synthetic"] is True


def test_an_unchanged_second_run_skips_every_stage_and_shows_it(second: Run) -> None:
    assert {name: state for name, state in second.states.items() if name in STAGES} == dict.fromkeys(STAGES, "Cached")
    assert second.states["register"] == "Cached"
    assert second.summary.cached == STAGES
    assert second.summary.decision.checks[0].name == "already_champion"
    assert "nothing new to learn from" in second.artifacts["fer-summary"]


def test_one_changed_parameter_reruns_only_what_depends_on_it(third: Run) -> None:
    assert "nothing new to learn from" not in third.artifacts["fer-summary"]
    assert third.summary.cached == ("fetch", "preprocess", "validate", "train")
    assert third.states["evaluate"] == third.states["export"] == "Completed"
    assert third.states["register"] == "Cached"  # the same weights and temperature are the same version


def test_dvc_finds_nothing_to_do_and_shows_the_metrics(workspace: Path, third: Run) -> None:
    """Its columns are the metrics that decide, and no recipe but the one in use."""
    with Repo(str(workspace)) as repo:
        assert (repo.status(), repo.reproduce()) == ({}, [])
        (shown,) = (found["data"] for found in repo.metrics.show()[""]["data"].values())
        (params,) = (found["data"] for found in repo.params.show()[""]["data"].values())
    assert shown.keys() == {name for name in DECIDING if not name.startswith("vote")}
    assert "profiles" not in params


def test_mlflow_has_every_figure_of_the_last_evaluation(workspace: Path, third: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mlflow has every figure that dvc has of the last evaluation."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.parent}/mlflow.db")
    figures = read_metrics(workspace / "data" / "reports" / "evaluation")
    logged = runs.read_run(ModelInfo.read(workspace / "data" / "export").lineage["run_id"]).metrics
    assert {"accuracy", "macro_f1", "ece"} <= figures.keys()
    assert {name: value for name, value in logged.items() if name.startswith("test/")} == {
        f"test/{name}": value for name, value in figures.items() if not name.startswith("validation_")
    }


@pytest.mark.slow  # a training more
def test_going_back_to_an_earlier_recipe_trains_nothing(workspace: Path, third: Run) -> None:
    """Back and forth between two recipes: each is trained once, and its model restored."""
    steps = [json.loads((workspace / "data" / "model" / "training.json").read_text())["run_id"]]
    outcomes = []
    for lr in (0.001, 0.002, 0.001, 0.002):
        editing.write_values(workspace / "params.yaml", {"train.lr": lr})
        outcomes.append(dvc.reproduce(workspace, "train"))
        steps.append(json.loads((workspace / "data" / "model" / "training.json").read_text())["run_id"])
    assert outcomes == [dvc.Outcome.RAN, *[dvc.Outcome.RESTORED] * 3]
    assert steps[::2] == [steps[0]] * 3
    assert steps[1] == steps[3] != steps[0]


def test_a_second_run_at_the_same_time_is_told_who_is_first(workspace: Path, third: Run) -> None:
    with exclusive(workspace / RUN_LOCK, "the first run"), pytest.raises(FerError, match="the first run"):
        train_champion()


@pytest.mark.slow
def test_data_of_one_class_ends_the_flow_with_its_message(workspace: Path, third: Run, tmp_path: Path) -> None:
    """Data of one class ends the flow with its message and keeps the champion."""
    faces = np.random.default_rng(0).integers(0, 256, (60, 2304))
    rows = [f"3,{' '.join(map(str, face))},{'Training' if row % 3 else 'PrivateTest'}" for row, face in enumerate(faces)]
    (tmp_path / "happy.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    with pytest.raises(FerError, match=r"stage validate: .*classes in train: observed 1"):
        train_champion(data=str(tmp_path / "happy.csv"))
    ModelInfo.read(workspace / "data" / "bundle")
    ModelInfo.read(workspace / "data" / "export")
