from __future__ import annotations

import json
import os

from typer.testing import CliRunner

from fer_pipeline.cli.app import app as fer
from tests.feedback.correcting import Workspace, face, run


def test_expired_corrections_are_removed_with_their_page(workspace: Workspace) -> None:
    workspace.give(face(80), days=-1)
    page = workspace.inbox.page.folder
    page.mkdir(parents=True)
    (page / "index.html").touch()
    damaged = workspace.inbox.folder / "pending" / f"{'0' * 32}.json"
    damaged.write_text("")
    assert json.loads(run("status", "--json").partition("deleted")[2])["damaged"] == [f"pending/{damaged.name}"]
    assert not page.exists()
    os.utime(damaged, (0, 0))  # nobody knows when it should go
    run("list")
    assert workspace.inbox.count("pending") == 0


def test_the_commands_can_be_scripted(workspace: Workspace) -> None:
    first, second, third = (workspace.give(face(90 + number), "fear") for number in range(3))
    workspace.give(None, "angry")
    listed = json.loads(run("list", "--json"))
    assert {one["id"] for one in listed} == {first, second, third}
    assert "happy should be fear: 3" in run("status")
    run("review")
    found = json.loads((workspace.inbox.page.folder / "review.json").read_text())["items"]
    assert {one["verdict"] for one in found} == {"passes"}
    accepted = run("accept", "--file", "-", feed=f"{first}\n\n")
    assert "1 accepted" in accepted
    assert "none was told" in accepted  # and what to do about it
    assert "prefect deployment run train-champion/train" in " ".join(accepted.split())
    assert "1 deleted" in run("reject", second)
    assert "these do not wait" in str(CliRunner().invoke(fer, ["feedback", "reject", first]).exception)
    status = json.loads(run("status", "--json"))
    assert (status["with_picture"], status["labels_alone"], status["accepted"]) == (1, 1, 1)
    for arguments in (["accept"], ["accept", first, "--all-passing"], ["reject"], ["delete"]):
        assert "give" in str(CliRunner().invoke(fer, ["feedback", *arguments]).exception)
    run("delete", third)
    assert "nothing to accept" in run("accept", "--all-passing")
    run("delete", first)
    assert workspace.version == "none"
