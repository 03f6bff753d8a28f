"""A face that is deleted, by whichever way, is in no file of the workspace any more."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline import schemas
from fer_pipeline.config.params import FetchParams
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.data.fetch.fetch import fetch
from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.feedback import report
from fer_pipeline.feedback.corrections import Corrections
from fer_pipeline.feedback.review import Review, Reviewed
from fer_pipeline.imaging import decode, to_gray
from fer_pipeline.inference.quality import measure
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import FEEDBACK
from flows.feedback import purge_feedback
from tests.feedback.correcting import Workspace, face, run, write_csv
from tests.feedback.searching import holding, open_to_others

pytestmark = pytest.mark.attack

PENDING = {
    "service": lambda workspace, receipt: workspace.inbox.delete(receipt),
    "delete": lambda _, receipt: run("delete", receipt),
    "reject": lambda _, receipt: run("reject", receipt),
    "expiry": lambda workspace, _: workspace.inbox.expire(datetime(2999, 1, 1, tzinfo=UTC)),
    "purge": lambda *_: run("purge"),
    "flow": lambda *_: purge_feedback.fn(),
}


@pytest.mark.parametrize("way", PENDING)
def test_a_reviewed_face_goes_by_each_way_of_deletion(workspace: Workspace, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.feedback.publish", lambda *_: None)  # without a server of Prefect
    receipt = workspace.give(face(1000))
    show(workspace, way)
    found = holding(workspace.root, face(1000))
    assert {file.name for file in found} == {f"{receipt}.json", "index.html"}
    assert open_to_others(workspace.root, found) == []
    assert all(file.stat().st_mode & 0o077 == 0 for file in found)
    if way in ("purge", "flow"):
        expire(workspace, receipt)
    PENDING[way](workspace, receipt)
    assert holding(workspace.root, face(1000)) == []


def show(workspace: Workspace, way: str) -> None:
    """Write the review page, one time by the command."""
    if way == "service":
        run("review")
    else:
        assert workspace.inbox.write_page(lambda folder: report.write(folder, unchecked(workspace), workspace.inbox.folder))


def unchecked(workspace: Workspace) -> Review:
    """What waits, without Great Expectations, which takes a second."""
    pending, _ = workspace.inbox.read("pending")
    faces = [(one, to_gray(decode(one.picture))) for one in pending if one.picture]
    return Review(tuple(Reviewed(one, gray, measure(gray), (), ()) for one, gray in faces), (), (), ())


def expire(workspace: Workspace, receipt: str) -> None:
    file = workspace.inbox.folder / "pending" / f"{receipt}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "expires": "1999-01-01T00:00:00+00:00"}))


def test_a_page_of_a_correction_deleted_meanwhile_is_removed(workspace: Workspace) -> None:
    """The service deletes what a page that is being written shows already."""
    receipt = workspace.give(face(1002))
    found = unchecked(workspace)

    def write(folder: Path) -> None:
        report.write(folder, found, workspace.inbox.folder)
        (workspace.inbox.folder / "pending" / f"{receipt}.json").unlink()

    assert workspace.inbox.write_page(write) is False
    assert holding(workspace.root, face(1002)) == []


def test_what_a_killed_review_left_is_removed(workspace: Workspace) -> None:
    receipt = workspace.give(face(1003))
    show(workspace, "")
    page = workspace.inbox.page.folder
    page.rename(page.with_name(".review.new-999999999-abc"))  # of a process that is gone
    workspace.inbox.delete(receipt)
    assert holding(workspace.root, face(1003)) == []


def test_the_page_of_an_earlier_version_is_removed(workspace: Workspace) -> None:
    receipt = workspace.give(face(1004))
    old = workspace.root / "data" / "reports" / "feedback"
    report.write(old, unchecked(workspace), workspace.inbox.folder)
    assert "was removed" in run("delete", receipt)
    assert holding(workspace.root, face(1004)) == []


def test_the_folder_of_another_user_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.give(face(1005))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(ToolUnavailableError, match="act as the owner"):
        Corrections(workspace.inbox.folder)


def trained(workspace: Workspace, receipt: str, *others: str) -> None:
    """Accept, and bring a correction where a run brings it: raw and processed table under DVC, and a page of label noise."""
    workspace.accept(receipt, *others)
    fetched(workspace)
    held = {one.id: one for one in accepted_feedback.read(FEEDBACK)}
    noise = workspace.root / "data" / "reports" / "noise"
    noise.mkdir(parents=True)
    (noise / "suspicious.csv").write_text(f"id,name\n1,feedback/{held[receipt].file}\n")
    (noise / "report.html").write_bytes(b"<img src='" + face(1010).tobytes() + b"'>")


def fetched(workspace: Workspace) -> None:
    raw = workspace.root / "data" / "raw"
    fetch(workspace.root / "train.csv", raw, FetchParams(feedback=workspace.version), FEEDBACK)
    dvc.track(workspace.root, raw)
    rows: list[dict[str, Any]] = pq.read_table(raw / "faces.parquet").to_pylist()
    table = workspace.root / "data" / "table"
    table.mkdir(exist_ok=True)
    names = [row["name"] for row in rows]
    pixels = [face(1010).tobytes() if name.startswith(schemas.FEEDBACK_NAME) else b"" for name in names]
    pq.write_table(pa.table({"name": names, "image": pa.array(pixels, pa.binary())}), table / "part.parquet", compression="zstd")
    dvc.track(workspace.root, table)


@pytest.mark.parametrize("way", ["delete", "flow"])
def test_a_face_in_training_data_goes_by_each_way(workspace: Workspace, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletion empties DVC's cache and the reports at once, the next fetch the tables."""
    monkeypatch.setattr("flows.feedback.publish", lambda *_: None)
    write_csv(workspace.root / "train.csv", [(0, None)])
    receipt = workspace.give(face(1010))
    trained(workspace, receipt)
    found = holding(workspace.root, face(1010))
    parts = {file.relative_to(workspace.root).parts[:2] for file in found}
    assert parts == {(".dvc", "cache"), ("data", "feedback"), ("data", "raw"), ("data", "table"), ("data", "reports")}
    closed = [file for file in found if file.parts[-2] not in ("table", "noise")]  # which this test wrote
    assert open_to_others(workspace.root, closed) == []
    if way == "delete":
        said = run("delete", receipt)
        assert "`fer run`" in said
        assert "dvc gc --workspace --cloud" in " ".join(said.split())
    else:
        assert workspace.inbox.delete(receipt) == "withdrawn"
        purge_feedback.fn()
    left = {file.relative_to(workspace.root).parts[:2] for file in holding(workspace.root, face(1010))}
    assert left == {("data", "raw"), ("data", "table")}  # as the command says
    fetched(workspace)
    assert holding(workspace.root, face(1010)) == []


def test_tables_and_pages_of_others_are_kept(workspace: Workspace) -> None:
    write_csv(workspace.root / "train.csv", [(0, None)])
    fetched(workspace)
    cached = {file for file in (workspace.root / ".dvc" / "cache").rglob("*") if file.is_file()}
    receipt, kept = workspace.give(face(1010)), workspace.give(face(1011))
    trained(workspace, receipt, kept)
    other = workspace.root / "data" / "reports" / "evaluation"
    other.mkdir()
    (other / "report.html").write_text("accuracy")
    run("delete", receipt)
    assert all(file.exists() for file in cached)
    assert other.exists()
    assert [one.id for one in accepted_feedback.read(FEEDBACK)] == [kept]
    assert holding(workspace.root / ".dvc", face(1011))


def test_folders_that_were_open_are_closed(workspace: Workspace) -> None:
    """As `dvc pull` and earlier versions leave them."""
    workspace.give(face(1012))
    workspace.accept()
    opened = [workspace.root / FEEDBACK, workspace.root / ".dvc" / "cache"]
    for folder in opened:
        folder.chmod(0o755)
    run("purge")
    assert open_to_others(workspace.root, holding(workspace.root, face(1012))) == []
