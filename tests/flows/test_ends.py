"""What a flow that does not end well leaves for people, against a Prefect server of the tests."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.callables import parameter_schema

from fer_pipeline.config.params import load_params
from fer_pipeline.feedback import versions
from fer_pipeline.workspace import dvc
from flows import ends
from flows.drift import check_drift
from flows.feedback import purge_feedback
from flows.promotion import promote_challenger
from flows.scoring import score_pictures
from flows.training import train_champion
from flows.tuning import tune_recipe

FLOWS: list[Flow[Any, Any]] = [train_champion, promote_challenger, tune_recipe, score_pictures, check_drift, purge_feedback]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def artifacts_of(state: State[Any]) -> dict[str, str]:
    run = state.state_details.flow_run_id
    assert isinstance(run, UUID)
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    return {str(one.key): str(one.data) for one in found}


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_each_flow_has_a_time_limit_and_says_what_to_do_next(flow: Flow[Any, Any]) -> None:
    assert flow.timeout_seconds == ends.LIMITS[flow.name]
    assert flow.on_failure_hooks == flow.on_crashed_hooks == [ends.advise]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_each_parameter_is_described_in_prefects_form(flow: Flow[Any, Any]) -> None:
    described = {name: schema.get("description", "") for name, schema in flow.parameters.properties.items()}
    assert described.keys() == inspect.signature(flow.fn).parameters.keys()
    assert all(text.endswith(".") for text in described.values()), described


def test_the_profile_is_chosen_from_those_of_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text, none = parameter_schema(train_champion.fn).properties["profile"]["anyOf"]
    assert (text["enum"], none) == (list(load_params(ROOT / "params.yaml").profiles), {"type": "null"})
    assert "cpu" in text["enum"]
    monkeypatch.chdir(tmp_path)  # no workspace
    assert "enum" not in parameter_schema(train_champion.fn).properties["profile"]["anyOf"][0]


def test_each_flow_that_is_deployed_is_among_them() -> None:
    deployed = {
        one["entrypoint"].rpartition(":")[2] for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    assert deployed == {flow.fn.__name__ for flow in FLOWS}


def test_deployments_started_by_events_outwait_other_runs() -> None:
    """A deployment that events start outwaits a run by hand and queues within its time limit."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for one in deployments:
        flow = next(flow for flow in FLOWS if flow.fn.__name__ == one["entrypoint"].rpartition(":")[2])
        assert one["parameters"]["wait_seconds"] < ends.LIMITS[flow.name]
        assert one["concurrency_limit"] == 1  # a number alone: runs above it wait for their turn
        if "triggers" in one:
            assert one["parameters"]["wait_seconds"] >= 3 * 3600  # profile cpu takes one hour


def test_a_failure_is_told_with_its_reason_and_the_next_step(
    server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no workspace at all
    state = purge_feedback(return_state=True)
    assert state.is_failed()
    text = artifacts_of(state)[ends.KEY]
    assert text.startswith("# purge-feedback: Failed")
    assert str(state.message) in text
    assert "`fer feedback purge` does it at once" in text


@pytest.mark.timeout(120, method="thread")  # Prefect uses the alarm signal, as pytest-timeout does by default
def test_a_flow_that_hangs_is_ended_and_told(server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(versions, "purge", lambda *_: time.sleep(60))
    start = time.monotonic()
    state = purge_feedback.with_options(timeout_seconds=0.5)(return_state=True)
    assert time.monotonic() - start < 40
    assert state.name == "TimedOut"
    assert "longer than 4 hours" in artifacts_of(state)[ends.KEY]


def test_a_crash_is_told_with_the_next_step(server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(versions, "purge", interrupted)
    seen: list[State[Any]] = []
    hooks = [ends.advise, lambda _flow, _run, state: seen.append(state)]
    with pytest.raises(KeyboardInterrupt):
        purge_feedback.with_options(on_crashed=hooks)()
    assert "It was ended from outside" in artifacts_of(seen[0])[ends.KEY]


def test_what_a_purge_has_done_is_an_artifact(server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = versions.FeedbackVersion("0123456789ab", 7, ("a", "b"))
    monkeypatch.setattr(versions, "purge", lambda *_: done)
    artifacts = artifacts_of(purge_feedback(return_state=True))
    assert "2 accepted ones were taken back" in artifacts["fer-feedback"]
    assert "`dvc gc --workspace --cloud`" in artifacts["fer-feedback"]


def test_advice_without_a_message_says_where_to_look() -> None:
    """Advice for a failure without a message still says where to look."""
    from prefect.states import Failed

    assert ends.advice("check-drift", Failed()).startswith("It failed without a message: see its log.")


@pytest.mark.usefixtures("server")
def test_a_fault_in_params_yaml_ends_a_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stage starts: the flow names the key before it asks DVC for anything."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("spark_master:", "master:"))
    monkeypatch.setattr(dvc, "stage_names", lambda _: pytest.fail("a stage was asked for"))
    state = train_champion(return_state=True)
    assert state.is_failed()
    assert "preprocess.spark_master" in str(state.message)
