"""The acts, in order. Each leaves the workspace as the next one needs it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from benchmarks.lifecycle.prefect_api import FlowRun, PrefectApi
from benchmarks.lifecycle.traffic import Counted, Service
from benchmarks.lifecycle.transcript import Transcript
from benchmarks.lifecycle.workspace import GOOD, WEAK, WORSE, Workspace
from fer_pipeline.data.synthetic.generator import draw_faces
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

TRAIN, DRIFT, PURGE = "train-champion/train", "check-drift/check-drift", "purge-feedback/purge-feedback"
FOLLOW_SECONDS = 1.0
ROLLBACK_SECONDS = 10.0
LOG_SECONDS = 150.0  # the logs are written once a minute
RUN_SECONDS = 1800.0
DARKER = 0.5
CORRECTIONS = 6
STRANGERS = 150
CAMERA_FACES = 300  # of each window for the drift check; drift.min_rows is 200
PLAN_SECONDS = 90.0
EVENT_SECONDS = 30.0  # Prefect's server stores events every five


@dataclass(frozen=True)
class Stage:
    """Workspace, servers and clients of the demo.

    `service` answers from the third step on.
    """

    workspace: Workspace
    prefect: PrefectApi
    service: Service
    script: Transcript

    def run_training(self, profile: str) -> FlowRun:
        """Runs the deployment `train` with a profile; returns the run that ended."""
        known = {run.id for run in self.prefect.runs(TRAIN)}
        self.workspace.run("prefect", "deployment", "run", TRAIN, "-p", f"profile={profile}")
        return self.prefect.wait_for_end(TRAIN, self.prefect.wait_for_new_run(TRAIN, known, 60).id, RUN_SECONDS)

    def shown(self, alias: str) -> dict[str, object]:
        """What `fer models show` knows of the version behind an alias, or of a number."""
        facts: dict[str, object] = self.workspace.run("fer", "models", "show", alias, "--json").json()
        return facts

    def validation_faces(self) -> list[UInt8Array]:
        """Validation faces without a copy in training, gray (48, 48)."""
        faces = ProcessedTable.open(self.workspace.root / "data" / "processed").split("validation")
        return [image[:, :, 0] for image in faces.images[faces.unseen]]


def schedules(stage: Stage) -> None:
    """Check that Prefect plans the runs of the schedules in prefect.yaml."""
    planned = {name: stage.prefect.wait_for_plan(name, PLAN_SECONDS) for name in (TRAIN, DRIFT, PURGE)}
    found = ", ".join(f"{name} {number}" for name, number in planned.items())
    stage.script.claim("runs are planned for each schedule", all(planned.values()), found)


def first_champion(stage: Stage) -> str:
    """Train a weak model as first champion; return its fingerprint."""
    script = stage.script
    script.act("Train: raw faces to the first champion, by the deployment `train` on a worker")
    run = stage.run_training(WEAK)
    script.claim("the run ends as completed", run.state == "Completed", f"{run.state} after {run.seconds:.0f} s {run.message}")
    champion = stage.shown("champion")
    script.say(f"champion is version {champion['number']}, test accuracy {_figure(champion, 'accuracy'):.3f} ({WEAK})")
    script.claim("the first champion is packaged", bool(champion["bundle"]), str(champion["bundle"]))
    return str(champion["fingerprint"])


def serving(stage: Stage, champion: str) -> None:
    """Looks at the service, which was just started."""
    stage.script.act("Serve: `fer serve` with prediction log, feedback and shadow mode")
    found = stage.service.model()
    stage.script.claim("the service answers with the champion", found == champion, f"model {found} at {stage.service.address}")


def better_challenger(stage: Stage, weak: str) -> str:
    """Train a better model under load; return its fingerprint."""
    script = stage.script
    script.act("A better challenger is trained and promoted while clients send pictures without a break")
    pictures = _pngs(stage.validation_faces())
    with stage.service.under_load(pictures) as counted:
        run = stage.run_training(GOOD)
        champion = stage.shown("champion")
        good = str(champion["fingerprint"])
        script.claim("the gate promotes it", run.state == "Completed" and good != weak, f"{run.state}, champion {good}")
        seconds = stage.service.wait_for_model(good, 60)
        time.sleep(3)
    script.say(str(champion["decision"]))
    script.say(f"it answered {seconds:.1f} s after the run had been seen to end; the service looks every {FOLLOW_SECONDS:g} s")
    _claim_no_failure(script, counted, {weak, good})
    return good


def worse_challenger(stage: Stage, champion: str) -> str:
    """Trains a worse model, which the gate refuses; returns its fingerprint."""
    script = stage.script
    script.act("A worse challenger is refused with reasons")
    run = stage.run_training(WORSE)
    challenger = stage.shown("challenger")
    script.say(str(challenger["decision"]))
    refused = run.state == "Completed" and challenger["gate"] == "failed" and "**fail**" in str(challenger["decision"])
    script.claim("the gate names what it refuses it for", refused, f"gate {challenger['gate']}")
    now = stage.shown("champion")["fingerprint"]
    script.claim("the champion stays", now == champion == stage.service.model(), f"champion {now}")
    return str(challenger["fingerprint"])


def shadow(stage: Stage, challenger: str) -> None:
    """Compares the refused challenger with the champion on what the service gets."""
    script = stage.script
    script.act("Shadow mode: the refused challenger judges half of what the service gets, without answering")
    before = stage.service.counter("fer_shadow_logged", outcome="written")
    taken = sum(_shadowed(stage.service))
    pictures = _pngs(stage.validation_faces())
    for picture in pictures:
        stage.service.ask(picture)
    stage.service.wait_for_counter(before + len(pictures) / 4, LOG_SECONDS, "fer_shadow_logged", outcome="written")
    compared = sum(_shadowed(stage.service)) - taken
    script.say(f"{len(pictures)} pictures sent, {compared:.0f} of them compared")
    report = stage.workspace.run("fer", "shadow", "report", "--at-least", "0.95", codes=(0, 3))
    script.say(report.out)
    facts = stage.workspace.run("fer", "shadow", "report", "--json").json()
    of_challenger = str(facts["challenger"]).endswith(challenger)
    script.claim("the log compares the refused challenger", of_challenger and facts["faces"] > 0, f"{facts['faces']} faces")
    script.claim("it is seen to answer otherwise", report.code == 3, f"agreement {facts['low']:.2f} to {facts['high']:.2f}")


def feedback(stage: Stage) -> None:
    """Send corrections with pictures; accept those that pass the checks.

    They become a version of the data.
    """
    script = stage.script
    script.act("Feedback: people correct wrong answers; what passes the checks becomes a new version of the data")
    images, labels = draw_faces(STRANGERS, seed=1_000_003)
    sent = wrong = 0
    for image, label in zip(images, labels, strict=True):
        picture = encode_png(image)
        (face,) = stage.service.ask(picture)["faces"]
        if face["emotion"] != EMOTIONS[int(label)]:
            wrong += 1
            if sent < CORRECTIONS:
                stage.service.correct(face["feedback"], EMOTIONS[int(label)], picture)
                sent += 1
    script.say(f"{STRANGERS} faces that no model has seen: {wrong} answers wrong or uncertain, {sent} of them corrected")
    script.say(stage.workspace.run("fer", "feedback", "review").out)
    script.say(stage.workspace.run("fer", "feedback", "accept", "--all-passing").out)
    held = stage.workspace.run("fer", "feedback", "status", "--json").json()
    found = f"{held['accepted']} accepted, version {held['version']}, {held['joined_by_next_run']} wait for the next run"
    script.claim("they are a new version of data/feedback under DVC", held["joined_by_next_run"] == held["accepted"] > 0, found)


def drift(stage: Stage) -> None:
    """Check drift with normal and with darkened pictures.

    Darker ones fire an event, which starts a training on the new data.
    """
    script = stage.script
    faces = list(draw_faces(CAMERA_FACES, seed=1_000_004)[0])
    script.act("Drift: pictures as in training leave the check quiet, darker ones start a retraining")
    since = _log_all(stage.service, faces)
    quiet = stage.workspace.run("fer", "monitor", "drift", "--since", f"{since:%Y-%m-%dT%H:%M:%S}", codes=(0, 3))
    script.claim(
        f"{len(faces)} new faces, drawn as those of the training, are no drift",
        quiet.code == 0,
        quiet.out.strip().splitlines()[-1],
    )
    before = stage.shown("challenger")
    known = {run.id for run in stage.prefect.runs(TRAIN)}
    stage.workspace.run("fer", "profile", "use", GOOD)  # what a run without a profile trains
    since = _log_all(stage.service, [(DARKER * face).astype(np.uint8) for face in faces])
    checks = {run.id for run in stage.prefect.runs(DRIFT)}
    hours = ((datetime.now(UTC) - since).total_seconds() + 20) / 3600
    stage.workspace.run("prefect", "deployment", "run", DRIFT, "-p", f"window_hours={hours:.5f}")
    check = stage.prefect.wait_for_end(DRIFT, stage.prefect.wait_for_new_run(DRIFT, checks, 60).id, RUN_SECONDS)
    script.claim(
        f"the same at {DARKER:g} of their brightness are drift", check.state == "Drift", f"{check.state}: {check.message}"
    )
    fired = stage.prefect.wait_for_events("fer.drift.detected", EVENT_SECONDS)
    script.claim("the event fires once", fired == 1, f"fer.drift.detected, {fired} times")
    begun = stage.prefect.wait_for_new_run(TRAIN, known, 120)
    script.claim("the automation starts a training", begun.creator == "AUTOMATION", f"run {begun.id} by {begun.creator}")
    run = stage.prefect.wait_for_end(TRAIN, begun.id, RUN_SECONDS)
    script.claim("the training ends as completed", run.state == "Completed", f"{run.state} after {run.seconds:.0f} s")
    after = stage.shown("challenger")
    versions = [dict(facts["lineage"])["data_version"] for facts in (before, after)]  # type: ignore[call-overload]
    script.claim("it learned from the new version of the data", versions[0] != versions[1], f"{versions[0]} to {versions[1]}")
    held = stage.workspace.run("fer", "feedback", "status", "--json").json()
    script.claim("with the corrections in it", held["joined_by_next_run"] == 0, f"{held['accepted']} corrections joined train")
    script.say(f"version {after['number']}: test accuracy {_figure(after, 'accuracy'):.3f}, gate {after['gate']}")


def rollback(stage: Stage) -> None:
    """Goes back to the champion before, while clients send pictures without a break."""
    script = stage.script
    script.act("Rollback while clients send pictures without a break")
    present = stage.shown("champion")
    pictures = _pngs(stage.validation_faces())
    with stage.service.under_load(pictures) as counted:
        time.sleep(2)
        start = time.monotonic()
        said = stage.workspace.run("fer", "rollback").out
        command = time.monotonic() - start
        bundle = ModelInfo.read(stage.workspace.root / "data" / "bundle").fingerprint
        stage.service.wait_for_model(bundle, 30)
        served = time.monotonic() - start
        time.sleep(2)
    script.say(said)
    found = f"the command took {command:.1f} s, the earlier model answered after {served:.1f} s"
    script.claim(f"rollback takes less than {ROLLBACK_SECONDS:.0f} s", served < ROLLBACK_SECONDS, found)
    _claim_no_failure(script, counted, {str(present["fingerprint"]), bundle})
    again = stage.workspace.run("fer", "promote", "--version", str(present["number"]), codes=(1,))
    script.claim("the gate does not promote the rolled-back version", "rolled back on" in again.out, "refused for its history")


def _log_all(service: Service, faces: Sequence[UInt8Array]) -> datetime:
    """Send the faces and wait for the prediction log; return the start time."""
    since = datetime.now(UTC)
    for face in faces:
        service.ask(encode_png(face))
    service.wait_for_log(LOG_SECONDS)
    return since


def _shadowed(service: Service) -> list[float]:
    return [service.counter("fer_shadow_faces", outcome=outcome) for outcome in ("agreed", "disagreed")]


def _claim_no_failure(script: Transcript, counted: Counted, models: set[str]) -> None:
    answers = ", ".join(f"{count:,} by {model}" for model, count in counted.by_model.most_common())
    found = (
        f"{counted.requests:,} requests, {counted.failures.total()} failed ({answers}; the slowest took {counted.slowest:.1f} s)"
    )
    if counted.failures:
        found += f": {dict(counted.failures.most_common(3))}"
    script.claim("no request fails while the model changes", not counted.failures and set(counted.by_model) == models, found)


def _pngs(faces: Sequence[UInt8Array]) -> list[bytes]:
    return [encode_png(face) for face in faces]


def _figure(facts: dict[str, object], name: str) -> float:
    metrics = facts["metrics"]
    assert isinstance(metrics, dict)
    return float(metrics[name])
