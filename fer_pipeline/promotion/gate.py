"""Run the promotion gate on registered versions and publish its decision.

The decision is stored in tags of the version, in its MLflow run, and on a page. The rules are in checks.py. The smoke test of the
challenger's bundle comes between `evaluate_challenger` and `publish`, so that no stored decision contradicts it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fer_pipeline.config.params import PromoteParams, load_params
from fer_pipeline.errors import ModelError
from fer_pipeline.experiments import registry, runs
from fer_pipeline.experiments.registry import ROLLED_BACK_TAG
from fer_pipeline.metrics.classification import Ints
from fer_pipeline.promotion.candidates import data_name, evaluate_candidate, shared_evaluation_set
from fer_pipeline.promotion.checks import SUPERSEDED, decide
from fer_pipeline.promotion.comparison import compare
from fer_pipeline.promotion.decision import ALREADY_CHAMPION, Candidate, Check, Decision, SmokeTest
from fer_pipeline.promotion.report import PAGE_FILE, write_gate
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import PARAMS

_TAG = "gate."


@dataclass(frozen=True)
class Measured:
    """Challenger and champion, evaluated on the same test rows.

    `champion` is None where there is none; `labels` is int (N,), of the rows; `data` names their source.
    """

    challenger: Candidate
    champion: Candidate | None
    labels: Ints
    data: str
    params: PromoteParams

    def decide(self, smoke_test: SmokeTest | None) -> Decision:
        """Decide after this smoke test of the challenger's bundle.

        None: it was not tested yet.
        """
        return decide(self.challenger, self.champion, self.labels, self.params, smoke_test)


@dataclass(frozen=True)
class GateResult:
    """The decision before the smoke test, and what was measured for it.

    `measured` is None where there was nothing to measure. `superseded` says who became champion before the challenger could,
    although it had passed.
    """

    decision: Decision
    measured: Measured | None = None
    superseded: str | None = None


def evaluate_challenger(root: Path, challenger: registry.Version) -> GateResult:
    """Evaluate the challenger against the champion on the test split in use.

    Rows with a copy in the training data of one of them are left out. For a candidate without a list of its training pictures
    no row can be left out; the decision names it then. The champion itself stays champion without an evaluation. Raises
    `ModelError` where a candidate cannot be measured on this split: it expects another image spec, or the split holds synthetic
    faces and the challenger was trained on real ones, or the reverse.
    """
    params = load_params(root / PARAMS).promote
    current_champion = registry.by_alias(params.model_name, registry.CHAMPION)
    if current_champion is not None and current_champion.number == challenger.number:
        check = Check(ALREADY_CHAMPION, True, str(current_champion), "nothing to decide")
        return GateResult(Decision(str(challenger), str(current_champion), (check,)))
    if ROLLED_BACK_TAG in challenger.tags:
        when = challenger.tags[ROLLED_BACK_TAG]
        required = f"never rolled back; `fer rollback --to {challenger.number}` brings it back"
        check = Check("history", False, f"rolled back on {when}", required)
        return GateResult(Decision(str(challenger), str(current_champion), (check,)))
    versions = [challenger, *([current_champion] if current_champion else [])]
    rows = shared_evaluation_set(dvc.output(root, "preprocess"), versions, params.standard)
    pictures = params.corruption_pictures if current_champion else 0  # they only serve to compare two
    new, *old = (evaluate_candidate(version, rows, pictures, params.seed) for version in versions)
    source = rows.metadata["source"]
    if new.synthetic != source["synthetic"]:
        raise ModelError(
            f"{challenger} was trained on {new.kind}, and the test split in use ({source['name']}) is of the other kind: make "
            "the data it was trained on the source again (`fer data add`, `fer run`)"
        )
    measured = Measured(new, old[0] if old else None, rows.labels, data_name(source["name"], params.standard), params)
    return GateResult(measured.decide(None), measured)


def publish(root: Path, challenger: registry.Version, gate_result: GateResult, smoke_test: SmokeTest | None) -> Decision:
    """Complete the decision by the smoke test, and store it.

    `smoke_test` is None where another check had failed, so that no bundle was built. Where it was measured, the page of `page`
    and the tags of the version hold it with its numbers. Raises `ModelError` where the bundle of the champion itself fails its
    smoke test: it stays champion, but it cannot be served.
    """
    measured = gate_result.measured
    if measured is None:
        if smoke_test is not None and smoke_test.fault is not None:
            raise ModelError(smoke_test.fault)
        return gate_result.decision
    decision = measured.decide(smoke_test)
    if gate_result.superseded is not None:
        check = Check(SUPERSEDED, False, gate_result.superseded, "the same champion from measurement to promotion")
        decision = replace(decision, checks=(*decision.checks, check))
    old, new, params = measured.champion, measured.challenger, measured.params
    result = compare(old, new, measured.labels, params) if old else None
    out = page(root).parent
    write_gate(out, decision, result, data=measured.data, confidence=params.confidence)
    runs.log_files(challenger.run_id, out, "gate")
    outcome = "passed" if decision.promoted else "failed" if gate_result.superseded is None else "superseded"
    _tag(challenger, decision, outcome)
    return decision


def page(root: Path) -> Path:
    """Where the page of the last decision that was measured lies."""
    return dvc.output(root, "evaluate").parent / "gate" / PAGE_FILE


def _tag(version: registry.Version, decision: Decision, outcome: str) -> None:
    """Tag the version with outcome, table, and each number as "gate.NAME".

    Numbers of an earlier decision that has other checks are removed.
    """
    tags = {f"{_TAG}{name}": f"{value:.4f}" for name, value in decision.figures.items()}
    tags |= {"gate": outcome, f"{_TAG}decision": decision.markdown()}
    for key in version.tags:
        if key.startswith(_TAG) and key not in tags:
            registry.untag_version(version, key)
    registry.tag_version(version, tags)
