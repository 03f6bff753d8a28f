from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from fer_pipeline.config.params import FetchParams, PreprocessParams
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.data.fetch.fetch import fetch
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.imaging import encode_png
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.serving.app import create_app, set_state
from fer_pipeline.serving.background.feedback_inbox import open_feedback_inbox
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits, ServiceSettings
from fer_pipeline.serving.state import ServiceState
from fer_pipeline.workspace.layout import FEEDBACK
from tests.feedback.correcting import Workspace, face, run, write_csv


def test_a_correction_becomes_a_training_row_and_is_deleted(workspace: Workspace, brightness_model: Path) -> None:
    """A correction becomes a training row with its origin and leaves again."""
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
    page = (workspace.inbox.page.folder / "index.html").read_text()
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
    metadata = fetch(workspace.root / "train.csv", raw, FetchParams(feedback=version), FEEDBACK)
    assert metadata.rows == 61
    assert metadata.rows_per_usage["Feedback"] == 31
    assert metadata.files[-1].name == "31 accepted corrections"
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
    assert fetch(workspace.root / "train.csv", raw, later, FEEDBACK).rows == 60
    assert json.loads(run("status", "--json"))["deleted_but_in_raw_table"] == 0


@pytest.mark.slow
def test_corrections_are_never_carved_into_another_split(workspace: Workspace) -> None:
    for seed in range(30):
        workspace.give(face(100 + seed), EMOTIONS[seed % 7])
    workspace.give(face(200))
    version = workspace.accept().version
    write_csv(workspace.root / "train.csv", [(100 + seed, None) for seed in range(30)])
    raw, out = workspace.root / "data" / "raw", workspace.root / "data" / "out"
    fetch(workspace.root / "train.csv", raw, FetchParams(feedback=version), FEEDBACK)
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
