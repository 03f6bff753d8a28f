from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from fer_pipeline.cli.app import app as fer
from fer_pipeline.config.editing import write_values
from fer_pipeline.config.params import FetchParams
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.data.fetch.fetch import SourceMetadata, fetch
from fer_pipeline.errors import ParamsError, SourceError
from fer_pipeline.feedback import versions
from fer_pipeline.imaging import encode_png
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import FEEDBACK
from flows.feedback import purge_feedback
from tests.feedback.correcting import Workspace, face, run, write_csv


def test_a_killed_acceptance_is_finished_by_the_next_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.give(face(40))
    for step in ("versioning", "inbox"):
        with monkeypatch.context() as patch:
            if step == "versioning":
                patch.setattr(dvc, "track", _killed)
            else:
                workspace.give(face(41))
                patch.setattr(workspace.inbox, "accept", _killed)
            with pytest.raises(KeyboardInterrupt):
                workspace.accept()
        held = accepted_feedback.version_of(accepted_feedback.read(FEEDBACK))
        if step == "versioning":
            with pytest.raises(SourceError, match="fer feedback purge"):
                workspace.accept()
        run("purge")
        assert workspace.version == held
        assert workspace.inbox.count("pending") == 0


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("versioning.track", "purge"),
        ("versioning.track", "delete"),
        ("write_values", "purge"),
        ("versioning.forget", "delete"),
    ],
)
def test_a_killed_deletion_is_finished_by_the_next_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: str, again: str
) -> None:
    """A killed deletion is finished by the next command in the cache as well."""
    gone, kept = workspace.give(face(45)), workspace.give(face(46))
    workspace.accept()
    assert workspace.inbox.delete(gone) == "withdrawn"
    with monkeypatch.context() as patch:
        patch.setattr(versions if step == "write_values" else dvc, step.rpartition(".")[2], _killed)
        with pytest.raises(KeyboardInterrupt):
            versions.purge(workspace.inbox, workspace.root)
    assert workspace.cached(encode_png(face(45)))
    said = run("purge") if again == "purge" else run("delete", gone)
    assert ("1 taken out" if again == "purge" else "1 deleted, 1 of them out of data/feedback") in said
    assert not workspace.cached(encode_png(face(45)))
    assert workspace.cached(encode_png(face(46)))
    assert not workspace.inbox.knows(gone)
    assert [one.id for one in accepted_feedback.read(FEEDBACK)] == [kept]
    assert workspace.version == accepted_feedback.version_of(accepted_feedback.read(FEEDBACK))
    assert not [*(workspace.root / "data").glob(".feedback*-*")]


@pytest.mark.parametrize(
    "after",
    [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)],
    ids=["before", "between", "after"],
)
def test_a_deletion_killed_in_the_swap_leaves_no_copy(workspace: Workspace, after: int) -> None:
    """A deletion killed while the folder is replaced leaves no copy of the face."""
    gone, _ = workspace.give(face(47)), workspace.give(face(48))
    workspace.accept()
    workspace.inbox.delete(gone)
    script = workspace.root.with_name("killed.py")  # a file: under `python -c` PySpark takes itself to be tested, and exits
    script.write_text(f"""
import os, signal
from pathlib import Path
from fer_pipeline.feedback import review, versions
from fer_pipeline.feedback.corrections import Corrections
move, moves = os.replace, []
def killing(source, target):
    if Path(source).name == "feedback" or Path(target).name == "feedback":
        if len(moves) == {after}:
            os.kill(os.getpid(), signal.SIGKILL)
        moves.append(target)
    move(source, target)
    if len(moves) == {after} == 2:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = killing
versions.purge(Corrections(Path({str(workspace.inbox.folder)!r})), Path.cwd())
""")
    assert subprocess.run([sys.executable, str(script)], check=False).returncode == -signal.SIGKILL
    assert "1 taken out" in run("purge")
    assert not workspace.cached(encode_png(face(47)))
    assert workspace.cached(encode_png(face(48)))
    left = [file for file in workspace.root.rglob("*") if file.is_file() and file.read_bytes() == encode_png(face(47))]
    assert left == []


def test_an_image_of_two_people_stays_cached_for_one_of_them(workspace: Workspace) -> None:
    """A picture that two people sent stays in the cache for the one who keeps it."""
    first = workspace.give(face(49))
    workspace.accept()
    second = accepted_feedback.read(FEEDBACK)[0]
    twice = [second, replace(second, id="0" * 32)]
    versions.publish(workspace.root, twice, {one.id: encode_png(face(49)) for one in twice})
    run("delete", first)
    assert workspace.cached(encode_png(face(49)))


def test_another_version_than_in_params_is_refused(workspace: Workspace) -> None:
    """Corrections of another version than that of the parameters are never taken silently."""
    workspace.give(face(42))
    first = workspace.accept().version
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "params.yaml", "data/feedback.dvc"], cwd=workspace.root, check=True)
    subprocess.run([*git, "commit", "-qm", "first"], cwd=workspace.root, check=True)
    workspace.give(face(43))
    second = workspace.accept().version
    subprocess.run([*git, "checkout", "-q", "--", "params.yaml", "data/feedback.dvc"], cwd=workspace.root, check=True)
    workspace.give(face(44))
    for command in (["accept", "--all-passing"], ["purge"]):
        result = CliRunner().invoke(fer, ["feedback", *command])
        assert isinstance(result.exception, SourceError)
        assert re.search(
            f"{second}.*names {first}.*dvc checkout data/feedback.dvc",
            str(result.exception).replace(str(workspace.root) + "/", ""),
        )
        assert workspace.version == first
        assert workspace.inbox.count("pending") == 1
    with Repo(str(workspace.root)) as repo:
        repo.checkout(targets=["data/feedback.dvc"], force=True)
    assert "1 accepted; data/feedback holds 2" in run("accept", "--all-passing")


def _killed(*_: object) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "spoil", [lambda file: file.unlink(), lambda file: file.write_bytes(encode_png(face(0)))], ids=["gone", "other"]
)
def test_fetch_takes_exactly_the_version_in_params(workspace: Workspace, spoil: Callable[[Path], None]) -> None:
    """Fetch takes exactly the version that the parameters name."""
    write_csv(workspace.root / "train.csv", [(0, None)])
    workspace.give(face(50))
    first = workspace.accept().version
    workspace.give(face(51))
    second = workspace.accept().version
    raw = workspace.root / "data" / "raw"

    def fetched(version: str) -> SourceMetadata:
        return fetch(workspace.root / "train.csv", raw, FetchParams(feedback=version), FEEDBACK)

    with pytest.raises(SourceError, match=rf"{second}.* names {first}"):
        fetched(first)
    assert fetched(second).rows == 3
    spoil(next((workspace.root / "data" / "feedback").rglob("*.png")))
    with pytest.raises(SourceError, match="dvc checkout"):
        fetched(second)
    shutil.rmtree(workspace.root / "data" / "feedback")
    with pytest.raises(SourceError, match="dvc pull"):
        fetched(second)
    with Repo(str(workspace.root)) as repo:
        repo.checkout(targets=["data/feedback.dvc"], force=True)
    assert fetched(second).rows == 3


def test_deletion_is_all_or_nothing_and_finds_each_state(workspace: Workspace) -> None:
    """Deleting by receipts is all or nothing and finds each state."""
    kept, accepted = workspace.give(face(70)), workspace.give(face(71))
    workspace.accept()
    waiting = workspace.give(face(72))
    before = workspace.version
    assert "no such correction" in str(CliRunner().invoke(fer, ["feedback", "delete", accepted, "0" * 32]).exception)
    assert workspace.version == before
    assert "2 deleted, 1 of them out of data/feedback" in run("delete", accepted, waiting)
    assert [one.id for one in accepted_feedback.read(FEEDBACK)] == [kept]
    assert not workspace.cached(encode_png(face(71)))
    assert workspace.cached(encode_png(face(70)))
    with Repo(str(workspace.root)) as repo:
        assert repo.data_status()["uncommitted"] == {}


def test_a_correction_deleted_during_acceptance_is_removed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person deletes while it is accepted is taken out again."""
    monkeypatch.setattr("flows.feedback.publish", lambda *_: None)  # without a server of Prefect
    receipt = workspace.give(face(75))
    reviewed = workspace.reviewed()
    assert workspace.inbox.delete(receipt) == "deleted"
    assert versions.accept(workspace.inbox, workspace.root, reviewed, None).total == 1
    assert json.loads(run("status", "--json"))["withdrawn"] == 1
    state = purge_feedback.fn(str(workspace.inbox.folder))
    assert state == versions.FeedbackVersion("none", 0, (receipt,))
    assert not workspace.inbox.knows(receipt)


def test_a_version_in_params_has_the_form_of_one(workspace: Workspace) -> None:
    with pytest.raises(ParamsError, match=r"fetch\.feedback"):
        write_values(workspace.root / "params.yaml", {"fetch.feedback": "latest"})
