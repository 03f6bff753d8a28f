"""From a correction on the service to a row of train, and back out again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from dvc.repo import Repo
from fastapi.testclient import TestClient
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from fer_pipeline import schemas
from fer_pipeline.cli.app import app as fer
from fer_pipeline.config import params
from fer_pipeline.config.editing import write_values
from fer_pipeline.config.params import FeedbackParams, FetchParams, PreprocessParams
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.data.fetch import fetch as sources
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.errors import DataQualityError, FeedbackError, ParamsError, SourceError, ToolUnavailableError
from fer_pipeline.feedback import review
from fer_pipeline.feedback.checks import KnownFaces
from fer_pipeline.feedback.corrections import Correction, Corrections
from fer_pipeline.imaging import content_hash, encode_png, perceptual_hash
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.serving.app import create_app, set_state
from fer_pipeline.serving.background.feedback_inbox import open_feedback_inbox
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits, ServiceSettings
from fer_pipeline.serving.state import ServiceState
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import FEEDBACK, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive
from flows.feedback import ACCEPTED_EVENT, announce, purge_feedback

UInt8Array = npt.NDArray[np.uint8]

ROOT = Path(__file__).parents[1]
BOUNDS = FeedbackParams()


def face(seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def write_processed(folder: Path, faces: list[tuple[UInt8Array, str]]) -> None:
    rows = []
    for row, (gray, split) in enumerate(faces):
        flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
        numbers = {"row": row, "label": 0, "copies": 1, "copy_rank": 0, "brightness": 0.0, "contrast": 0.0}
        hashes = {"content_hash": content_hash(gray), "perceptual_hash": perceptual_hash(gray)}
        words = {"id": f"{row:08d}", "name": f"n{row}", "usage": split, "split": split, "votes": None}
        rows.append({**flags, **numbers, **hashes, **words, "image": gray.tobytes()})
    (folder / "faces").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.PROCESSED), folder / "faces" / "part-00000.parquet")


def write_csv(target: Path, rows: list[tuple[int, str | None]]) -> None:
    """A CSV of faces by seed, with or without a usage."""
    has_usage = any(usage for _, usage in rows)
    lines = ["emotion,pixels,Usage" if has_usage else "emotion,pixels"]
    for seed, usage in rows:
        lines.append(f"{seed % 7},{' '.join(map(str, face(seed).ravel()))}" + (f",{usage}" if has_usage else ""))
    target.write_text("\n".join(lines))


class Workspace:
    """A repository under DVC with a processed table, and a folder of corrections."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = Corrections(root / "data" / "feedback-inbox")
        self.processed = root / "data" / "processed"

    def give(self, gray: UInt8Array | None, corrected: str = "sad", *, sender: str = "", days: float = 30) -> str:
        now = datetime.now(UTC).replace(microsecond=0)
        receipt = secrets.token_hex(16)
        correction = Correction(
            id=receipt,
            time=now,
            expires=now + timedelta(days=days),
            network="brightness",
            version="0123456789ab",
            answered="happy",
            confidence=0.5,
            corrected=corrected,
            sender=sender or receipt[:12],
            picture=None if gray is None else encode_png(gray),
            size=None if gray is None else 48.0,
        )
        assert self.inbox.put(correction)
        return receipt

    def reviewed(self) -> review.Review:
        return review.review(self.inbox, self.root, self.processed, BOUNDS)

    def accept(self, *ids: str) -> review.FeedbackVersion:
        return review.accept(self.inbox, self.root, self.reviewed(), ids or None)

    @property
    def version(self) -> str:
        return params.load(self.root / "params.yaml").fetch.feedback

    def cached(self, data: bytes) -> bool:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return (self.root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]).exists()


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "data").mkdir()
    shutil.copy2(ROOT / "data" / ".gitignore", folder / "data")
    shutil.copy2(ROOT / "params.yaml", folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    Repo.init(str(folder)).close()
    write_processed(folder / "data" / "processed", [(face(1), "train"), (face(2), "validation"), (face(3), "test")])
    return folder


@pytest.fixture
def workspace(empty_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    root = tmp_path / "root"
    shutil.copytree(empty_repository, root)
    monkeypatch.chdir(root)
    return Workspace(root)


def run(*arguments: str, code: int = 0, feed: str | None = None) -> str:
    result = CliRunner().invoke(fer, ["feedback", *arguments], input=feed)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def verdicts(found: review.Review) -> dict[str, str]:
    return {item.correction.id: item.verdict for item in found.items}


def test_a_correction_becomes_a_training_row_with_its_origin_and_leaves_again(
    workspace: Workspace, brightness_model: Path
) -> None:
    # A person corrects an answer and agrees to the storage of the face.
    gray = face(10)
    api, limits = create_app(), Limits()
    state = ServiceState(
        Recognizer.load(brightness_model), AdmissionController(limits), VideoJobs(Path("nowhere"), Path("nowhere"), limits)
    )
    state.feedback_inbox = open_feedback_inbox(ServiceSettings(feedback=workspace.inbox.folder))
    assert state.feedback_inbox is not None
    set_state(api, state)
    client = TestClient(api)
    answer = client.post("/predict?framing=face", files={"picture": encode_png(gray)}).json()
    form: dict[str, Any] = {"token": answer["faces"][0]["feedback"], "correction": "disgust", "consent": "true"}
    files = {**{name: (None, value) for name, value in form.items()}, "picture": ("x.png", encode_png(gray))}
    receipt = client.post("/feedback?framing=face", files=files).json()["id"]

    # The operator looks at it and accepts it, with others, whose faces stand in a source of later.
    for seed in range(30):
        workspace.give(face(100 + seed), EMOTIONS[seed % 7])
    assert receipt in run("review")
    page = (workspace.root / "data/reports/feedback/index.html").read_text()
    assert receipt in page
    assert "data:image/png" in page
    assert "31 accepted" in run("accept", "--all-passing")
    assert workspace.inbox.count("pending") == 0
    assert (workspace.root / "data" / "feedback.dvc").exists()
    version = workspace.version
    assert version != "none"

    # The next run has it in train, with id, origin and time of acceptance, and none whose face stands in validation or test.
    usages = ("Training", "PublicTest", "PrivateTest")
    write_csv(workspace.root / "train.csv", [(100 + seed, usages[seed % 3]) for seed in range(30)])
    raw, out, bad = (workspace.root / "data" / name for name in ("raw", "out", "bad"))
    facts = sources.fetch(workspace.root / "train.csv", raw, FetchParams(feedback=version), FEEDBACK)
    assert facts.rows == 61
    assert facts.rows_per_usage["Feedback"] == 31
    assert facts.files[-1].name == "31 accepted corrections"
    prepared = preprocess(raw, out, bad, PreprocessParams(spark_master="local[2]"))
    rows = pq.read_table(out / "faces").to_pylist()
    own, joined = ([row for row in rows if (row["usage"] == "Feedback") == of_people] for of_people in (False, True))
    measured = {row["content_hash"] for row in own if row["split"] != "train"}
    assert {row["split"] for row in joined} == {"train"}
    assert not measured & {row["content_hash"] for row in joined}
    assert prepared.removed_by_choice == {"feedback-leak": len(measured)}
    assert prepared.quarantined == {}
    accepted = {one.id: one for one in accepted_feedback.read(FEEDBACK)}
    (row,) = [row for row in joined if row["name"] == f"feedback/{accepted[receipt].file}"]
    assert receipt in row["name"]
    assert row["name"].split("/")[1] == accepted[receipt].accepted.replace("-", "").replace(":", "")
    assert (row["label"], row["image"]) == (1, gray.tobytes())
    assert all((row["row"] >= 30) == (row["usage"] == "Feedback") for row in rows)  # the ids of the source's own rows stay
    assert json.loads(run("status", "--json"))["joined_by_next_run"] == 0

    # The person changes their mind: the service notes it, the operator's command takes the picture out, of the cache as well.
    assert client.delete(f"/feedback/{receipt}").json()["state"] == "withdrawn"
    state.feedback_inbox.close()
    assert workspace.cached(encode_png(gray))
    assert "1 taken out" in run("purge")
    assert not workspace.cached(encode_png(gray))
    assert workspace.version not in ("none", version)
    assert len([*(workspace.root / "data" / "feedback").rglob("*.png")]) == 30
    assert not workspace.inbox.knows(receipt)
    assert json.loads(run("status", "--json"))["deleted_but_in_raw_table"] == 1
    later = FetchParams(feedback=workspace.version)
    assert sources.fetch(workspace.root / "train.csv", raw, later, FEEDBACK).rows == 60
    assert json.loads(run("status", "--json"))["deleted_but_in_raw_table"] == 0


@pytest.mark.slow
def test_corrections_are_never_carved_into_another_split(workspace: Workspace) -> None:
    for seed in range(30):
        workspace.give(face(100 + seed), EMOTIONS[seed % 7])
    workspace.give(face(200))
    version = workspace.accept().version
    write_csv(workspace.root / "train.csv", [(100 + seed, None) for seed in range(30)])
    raw, out = workspace.root / "data" / "raw", workspace.root / "data" / "out"
    sources.fetch(workspace.root / "train.csv", raw, FetchParams(feedback=version), FEEDBACK)
    prepared = preprocess(
        raw, out, out.with_name("bad"), PreprocessParams(spark_master="local[2]", validation_share=0.3, test_share=0.3)
    )
    rows = pq.read_table(out / "faces").to_pylist()
    own, joined = ([row for row in rows if (row["usage"] == "Feedback") == of_people] for of_people in (False, True))
    measured = {row["content_hash"] for row in own if row["split"] != "train"}
    assert 10 < len(measured) < 25
    assert {row["split"] for row in joined} == {"train"}
    assert not measured & {row["content_hash"] for row in joined}
    assert prepared.removed_by_choice == {"feedback-leak": len(measured)}


def test_each_fault_of_a_correction_is_named_and_cannot_be_accepted(workspace: Workspace) -> None:
    workspace.give(face(20))
    workspace.accept()
    good, flat = workspace.give(face(21)), workspace.give(np.full((48, 48), 9, np.uint8))
    leak, mirrored = workspace.give(face(3)), workspace.give(np.ascontiguousarray(face(2)[:, ::-1]))
    known, again = workspace.give(face(1)), workspace.give(face(20))
    wrong_size = workspace.give(face(24)[:40])
    one, other = workspace.give(face(22), "fear"), workspace.give(face(22), "angry")
    first, second = sorted([workspace.give(face(23)), workspace.give(face(23))])  # of the same second, so ordered by id
    reviewed = workspace.reviewed()
    faults = {item.correction.id: [fault.split(":")[0] for fault in item.faults] for item in reviewed.items}
    assert faults[good] == faults[first] == []
    assert faults[flat][0] == "flat"
    assert faults[leak] == faults[mirrored] == ["leak"]
    assert (faults[known], faults[again]) == (["known"], ["accepted before"])
    assert "picture" in faults[wrong_size]
    assert all("contradicted" in faults[receipt] for receipt in (one, other))
    assert faults[second] == ["repeated"]
    before = workspace.version
    with pytest.raises(DataQualityError, match=f"{leak}: leak"):
        review.accept(workspace.inbox, workspace.root, reviewed, [good, leak])
    assert workspace.version == before
    done = review.accept(workspace.inbox, workspace.root, reviewed, None)
    assert set(done.ids) == {good, first}
    assert done.total == 3


def test_a_changed_copy_of_a_test_picture_is_doubtful(workspace: Workspace) -> None:
    own = int(perceptual_hash(face(3)), 16)
    for level in range(1, 120):
        noise = np.random.default_rng(level).normal(0, level, (48, 48))
        changed = np.clip(face(3) + noise, 0, 255).astype(np.uint8)
        if 0 < (int(perceptual_hash(changed), 16) ^ own).bit_count() <= BOUNDS.max_hash_distance:
            break
    receipt = workspace.give(changed)
    (item,) = workspace.reviewed().items
    assert item.verdict == "doubtful"
    assert item.doubts[0].startswith("near a measured picture")
    assert workspace.accept().ids == ()  # --all-passing
    assert workspace.accept(receipt).ids == (receipt,)  # a person looked at it


def test_a_flood_of_one_emotion_or_one_sender_is_left_to_a_person(workspace: Workspace) -> None:
    few = BOUNDS.max_per_sender
    from_one = [workspace.give(face(30 + number), "fear", sender="a" * 12) for number in range(few + 1)]
    angry = [workspace.give(face(60 + number), "angry") for number in range(BOUNDS.share_from)]
    reviewed = workspace.reviewed()
    assert {verdicts(reviewed)[receipt] for receipt in (*from_one, *angry)} == {"doubtful"}
    assert workspace.accept().ids == ()
    for receipt in (*from_one[1:], *angry[5:]):
        workspace.inbox.delete(receipt)
    assert set(verdicts(workspace.reviewed()).values()) == {"passes"}


def test_labels_alone_and_damaged_files_are_shown_and_never_accepted(workspace: Workspace) -> None:
    alone = workspace.give(None)
    damaged, no_picture = workspace.give(face(5)), workspace.give(face(6))
    place = workspace.inbox.folder / "pending"
    (place / f"{damaged}.json").write_text('{"id": ')
    broken = (place / f"{no_picture}.json").read_text().replace("iVBOR", "AAAAA")
    (place / f"{no_picture}.json").write_text(broken)
    reviewed = workspace.reviewed()
    assert reviewed.items == ()
    assert [one.id for one in reviewed.labels_alone] == [alone]
    assert reviewed.damaged == tuple(sorted(f"pending/{receipt}.json" for receipt in (damaged, no_picture)))
    for receipt in (alone, no_picture):
        with pytest.raises(FeedbackError, match=receipt):
            workspace.accept(receipt)


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
def test_a_killed_deletion_is_finished_by_the_next_command_in_the_cache_as_well(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: str, again: str
) -> None:
    gone, kept = workspace.give(face(45)), workspace.give(face(46))
    workspace.accept()
    assert workspace.inbox.delete(gone) == "withdrawn"
    with monkeypatch.context() as patch:
        patch.setattr(review if step == "write_values" else dvc, step.rpartition(".")[2], _killed)
        with pytest.raises(KeyboardInterrupt):
            review.purge(workspace.inbox, workspace.root)
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
def test_a_deletion_killed_while_the_folder_is_replaced_leaves_no_copy_of_the_face(workspace: Workspace, after: int) -> None:
    gone, _ = workspace.give(face(47)), workspace.give(face(48))
    workspace.accept()
    workspace.inbox.delete(gone)
    script = workspace.root.with_name("killed.py")  # a file: under `python -c` PySpark takes itself to be tested, and exits
    script.write_text(f"""
import os, signal
from pathlib import Path
from fer_pipeline.feedback import review
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
review.purge(Corrections(Path({str(workspace.inbox.folder)!r})), Path.cwd())
""")
    assert subprocess.run([sys.executable, str(script)], check=False).returncode == -signal.SIGKILL
    assert "1 taken out" in run("purge")
    assert not workspace.cached(encode_png(face(47)))
    assert workspace.cached(encode_png(face(48)))
    left = [file for file in workspace.root.rglob("*") if file.is_file() and file.read_bytes() == encode_png(face(47))]
    assert left == []


def test_a_picture_that_two_people_sent_stays_in_the_cache_for_the_one_who_keeps_it(workspace: Workspace) -> None:
    first = workspace.give(face(49))
    workspace.accept()
    second = accepted_feedback.read(FEEDBACK)[0]
    twice = [second, replace(second, id="0" * 32)]
    review.publish(workspace.root, twice, {one.id: encode_png(face(49)) for one in twice})
    run("delete", first)
    assert workspace.cached(encode_png(face(49)))


def test_corrections_of_another_version_than_that_of_the_parameters_are_never_taken_silently(workspace: Workspace) -> None:
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
def test_fetch_takes_exactly_the_version_that_the_parameters_name(workspace: Workspace, spoil: Callable[[Path], None]) -> None:
    write_csv(workspace.root / "train.csv", [(0, None)])
    workspace.give(face(50))
    first = workspace.accept().version
    workspace.give(face(51))
    second = workspace.accept().version
    raw = workspace.root / "data" / "raw"

    def fetch(version: str) -> sources.SourceFacts:
        return sources.fetch(workspace.root / "train.csv", raw, FetchParams(feedback=version), FEEDBACK)

    with pytest.raises(SourceError, match=rf"{second}.* names {first}"):
        fetch(first)
    assert fetch(second).rows == 3
    spoil(next((workspace.root / "data" / "feedback").rglob("*.png")))
    with pytest.raises(SourceError, match="dvc checkout"):
        fetch(second)
    shutil.rmtree(workspace.root / "data" / "feedback")
    with pytest.raises(SourceError, match="dvc pull"):
        fetch(second)
    with Repo(str(workspace.root)) as repo:
        repo.checkout(targets=["data/feedback.dvc"], force=True)
    assert fetch(second).rows == 3


def test_deleting_by_receipts_is_all_or_nothing_and_finds_each_state(workspace: Workspace) -> None:
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


def test_what_a_person_deletes_while_it_is_accepted_is_taken_out_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.feedback.publish", lambda *_: None)  # without a server of Prefect
    receipt = workspace.give(face(75))
    reviewed = workspace.reviewed()
    assert workspace.inbox.delete(receipt) == "deleted"
    assert review.accept(workspace.inbox, workspace.root, reviewed, None).total == 1
    assert json.loads(run("status", "--json"))["withdrawn"] == 1
    state = purge_feedback.fn(str(workspace.inbox.folder))
    assert state == review.FeedbackVersion("none", 0, (receipt,))
    assert not workspace.inbox.knows(receipt)


def test_a_purge_looks_where_the_commands_look_and_fails_where_no_accepted_correction_is_known(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert purge_feedback.fn() == review.FeedbackVersion("none", 0, (receipt,))
    assert purge_feedback.fn() == review.FeedbackVersion("none", 0, ())  # nothing is held that could be missed


def test_expired_corrections_go_with_the_page_that_shows_them(workspace: Workspace) -> None:
    workspace.give(face(80), days=-1)
    page = workspace.root / "data" / "reports" / "feedback"
    page.mkdir(parents=True)
    (page / "index.html").touch()
    damaged = workspace.inbox.folder / "pending" / f"{'0' * 32}.json"
    damaged.write_text("")
    assert json.loads(run("status", "--json").partition("deleted")[2])["damaged"] == [f"pending/{damaged.name}"]
    assert not page.exists()
    os.utime(damaged, (0, 0))  # nobody knows when it should go
    run("list")
    assert workspace.inbox.count("pending") == 0


def test_expired_corrections_go_daily_also_while_a_training_holds_the_workspace(workspace: Workspace) -> None:
    workspace.give(face(81), days=-1)
    kept = workspace.give(face(82))
    with exclusive(workspace.root / RUN_LOCK, "a long training"):
        state: Any = purge_feedback.fn(str(workspace.inbox.folder))
    assert "a long training" in state.message
    assert [one.id for one in workspace.inbox.read("pending")[0]] == [kept]


def test_the_commands_can_be_scripted(workspace: Workspace) -> None:
    first, second, third = (workspace.give(face(90 + number), "fear") for number in range(3))
    workspace.give(None, "angry")
    listed = json.loads(run("list", "--json"))
    assert {one["id"] for one in listed} == {first, second, third}
    assert "happy should be fear: 3" in run("status")
    run("review", "--out", "page")
    found = json.loads((workspace.root / "page" / "review.json").read_text())["items"]
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


def test_of_train_only_the_pictures_of_the_batch_are_kept(workspace: Workspace) -> None:
    hashes = [content_hash(face(seed)) for seed in (1, 3, 9)]  # of train, of test, of neither
    known = KnownFaces.read(workspace.processed, hashes)
    assert (known.train, known.measured) == ({hashes[0]}, {hashes[1]})
    assert set(known.measured_perceptual.tolist()) == {int(perceptual_hash(face(seed)), 16) for seed in (2, 3)}
    assert KnownFaces.read(workspace.processed, []).train == frozenset()


def test_without_a_processed_table_nothing_is_accepted(workspace: Workspace) -> None:
    workspace.give(face(1))
    shutil.rmtree(workspace.processed)
    with pytest.raises(SourceError, match="run `fer run` first"):
        workspace.accept()


def test_a_version_in_the_parameters_must_look_like_one(workspace: Workspace) -> None:
    with pytest.raises(ParamsError, match=r"fetch\.feedback"):
        write_values(workspace.root / "params.yaml", {"fetch.feedback": "latest"})


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
