"""The flow of a promotion against a Prefect server of the tests: what it decides, and what it leaves in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.testing.utilities import prefect_test_harness

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.experiments import registry
from fer_pipeline.promotion import champion, gate
from fer_pipeline.promotion.bundle import bento
from fer_pipeline.promotion.checks import SERVES, decide
from fer_pipeline.promotion.decision import Decision
from flows.promotion import promote_challenger


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def root(registered: Path, levels: Path, server: None) -> Path:
    return registered


def task_states(flow: State[Any]) -> dict[str, str]:
    with get_client(sync_client=True) as client:
        return {task.name: str(task.state_name) for task in client.read_task_runs(flow_run_filter=_of(flow))}


def failing(error: Exception) -> Any:
    def build(*_: object, **__: object) -> str:
        raise error

    return build


def test_a_version_with_a_bundle_that_fails_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version whose bundle does not answer is refused in all places."""
    champion.set_champion(root, champion.challenger(root, 1), None)
    monkeypatch.setattr(gate, "decide", _generous)
    monkeypatch.setattr(bento, "build", failing(ModelError("bento fer:v2 does not serve its model: it failed\nits log")))
    state = promote_challenger(2, return_state=True)
    decision = state.result()
    assert isinstance(decision, Decision)
    assert [check.name for check in decision.checks if not check.passed] == [SERVES]
    assert task_states(state) == {"gate": "Completed", "package": "Failed", "decision": "Completed"}
    assert champion.champion(root).number == 1
    assert champion.challenger(root, 2).tags["gate"] == "failed"
    assert "does not serve its model: it failed" in gate.page(root).read_text()


def test_a_fault_of_the_machine_is_no_verdict_on_the_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bento, "build", failing(ToolUnavailableError("the disk is full")))
    state = promote_challenger(2, return_state=True)
    assert state.is_failed()
    assert "the disk is full" in str(state.message)
    assert "gate" not in champion.challenger(root, 2).tags


def test_a_promotion_cut_short_is_finished_by_the_next_one(root: Path) -> None:
    """A promotion that was cut short is finished by the next one."""
    registry.set_alias(champion.challenger(root, 2), "champion")  # then the process died
    state = promote_challenger(2, return_state=True)
    assert isinstance(state.result(), Decision)
    assert task_states(state) == dict.fromkeys(["gate", "package", "decision", "set champion"], "Completed")
    assert "promoted_at" in champion.champion(root).tags


def test_a_superseded_version_is_tagged_and_shown_as_such(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version is superseded where another becomes champion first; tags, page and artifact say so."""

    def build(*_: object, **__: object) -> str:
        champion.set_champion(root, champion.challenger(root, 3), "fer version 1")  # by another process
        return "fer:v2"

    champion.set_champion(root, champion.challenger(root, 1), None)
    monkeypatch.setattr(gate, "decide", _generous)
    monkeypatch.setattr(bento, "build", build)
    state = promote_challenger(2, return_state=True)
    assert state.is_failed()
    assert "fer version 3 is champion now" in str(state.message)
    tags = champion.challenger(root, 2).tags
    assert tags["gate"] == "superseded"
    assert "not promoted" in tags["gate.decision"]
    assert "fer version 3 is champion now" in gate.page(root).read_text()
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(flow_run_filter=_of(state))
    assert "not promoted" in str(max((one for one in artifacts if one.key == "fer-gate"), key=lambda one: str(one.created)).data)


def test_a_version_that_a_check_refuses_is_not_packaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is packaged for a version that another check refuses."""
    champion.set_champion(root, champion.challenger(root, 1), None)
    monkeypatch.setattr(bento, "build", failing(ModelError("not to be built")))
    state = promote_challenger(2, return_state=True)
    assert not state.result().promoted
    assert task_states(state) == {"gate": "Completed", "decision": "Completed"}
    assert "not to be built" not in champion.challenger(root, 2).tags["gate.decision"]


def _of(flow: State[Any]) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=[flow.state_details.flow_run_id]))


def _generous(*arguments: Any) -> Decision:
    """The decision as if there were no champion: all versions of the fixture answer alike."""
    challenger, _, labels, params, smoke_test = arguments
    return decide(challenger, None, labels, params, smoke_test)
