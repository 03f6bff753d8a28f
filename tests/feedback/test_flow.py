from __future__ import annotations

from typing import Any

import pytest
import yaml
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from fer_pipeline.cli.app import app as fer
from fer_pipeline.errors import FeedbackError, ToolUnavailableError
from fer_pipeline.feedback import versions
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive
from flows.feedback import ACCEPTED_EVENT, announce, purge_feedback
from tests.feedback.correcting import ROOT, Workspace, face


def test_a_purge_of_another_inbox_fails(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge looks where the commands look and fails where no accepted correction is known."""
    receipt = workspace.give(face(76))
    workspace.accept()
    workspace.inbox.delete(receipt)
    elsewhere = workspace.root.with_name("elsewhere")
    workspace.inbox.folder.rename(elsewhere)
    state: Any = purge_feedback.fn()
    assert state.is_failed()
    assert "holds 1 accepted corrections, and" in state.message
    assert "feedback-inbox knows none of them" in state.message
    assert "set FER_FEEDBACK, also for the worker of Prefect" in state.message
    assert isinstance(CliRunner().invoke(fer, ["feedback", "purge"]).exception, FeedbackError)
    monkeypatch.setenv("FER_FEEDBACK", str(elsewhere))
    monkeypatch.setattr("flows.feedback.publish", lambda *_: None)  # without a server of Prefect
    assert purge_feedback.fn() == versions.FeedbackVersion("none", 0, (receipt,))
    assert purge_feedback.fn() == versions.FeedbackVersion("none", 0, ())  # nothing is held that could be missed


def test_expired_corrections_are_removed_during_a_training(workspace: Workspace) -> None:
    """Expired corrections go daily also while a training holds the workspace."""
    workspace.give(face(81), days=-1)
    kept = workspace.give(face(82))
    with exclusive(workspace.root / RUN_LOCK, "a long training"):
        state: Any = purge_feedback.fn(str(workspace.inbox.folder))
    assert "a long training" in state.message
    assert [one.id for one in workspace.inbox.read("pending")[0]] == [kept]


def test_enough_accepted_corrections_start_a_training() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (train,) = [deployment for deployment in deployments if deployment["name"] == "train"]
    triggers = [DeploymentEventTrigger.model_validate({**trigger, "name": "x"}) for trigger in train["triggers"]]
    (trigger,) = [trigger for trigger in triggers if ACCEPTED_EVENT in trigger.expect]
    assert trigger.threshold > 1
    assert trigger.model_dump()["match"] == {"prefect.resource.id": "fer.feedback.*"}


def test_where_prefect_is_not_there_the_acceptance_says_so() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert announce(["0" * 32], "v") is False
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ToolUnavailableError, match="accepted, but"),
    ):
        announce(["0" * 32], "v")
