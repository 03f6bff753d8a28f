"""The promotion gate on registered versions: they are measured, judged, and the decision is left where people look for it.

That is in tags of the version, in its MLflow run, and on a page. The rules are in modeling/promotion.py.
"""

from __future__ import annotations

from pathlib import Path

from fer_pipeline import params as params_file
from fer_pipeline.contest import contestant, judged_rows
from fer_pipeline.datasets import versioning
from fer_pipeline.errors import ModelError
from fer_pipeline.modeling import registry, tracking
from fer_pipeline.modeling.comparison import compare
from fer_pipeline.modeling.gate_page import PAGE_FILE, write_gate
from fer_pipeline.modeling.promotion import REIGNING, Check, Decision, decide
from fer_pipeline.modeling.registry import ROLLED_BACK_TAG

_TAG = "gate."


def judge(root: Path, challenger: registry.Version) -> Decision:
    """The gate's decision on the test split in use, without the rows of which a contestant was trained on a copy.

    For a contestant whose run holds no list of its pictures no row can be left out; the decision and its page name it then.
    Where it was measured, the page of `page` and the tags of the version hold the decision and its numbers. The champion itself
    stays champion without a contest. Raises `ModelError` where a contestant cannot be measured on this split: it expects another
    image spec, or the split holds synthetic faces and the challenger was trained on real ones, or the reverse.
    """
    params = params_file.load(root / "params.yaml").promote
    reigning = registry.by_alias(params.model_name, registry.CHAMPION)
    if reigning is not None and reigning.number == challenger.number:
        return Decision(str(challenger), str(reigning), (Check(REIGNING, True, str(reigning), "nothing to decide"),))
    if ROLLED_BACK_TAG in challenger.tags:
        when = challenger.tags[ROLLED_BACK_TAG]
        required = f"never rolled back; `fer rollback --to {challenger.number}` brings it back"
        return Decision(str(challenger), str(reigning), (Check("history", False, f"rolled back on {when}", required),))
    versions = [challenger, *([reigning] if reigning else [])]
    rows = judged_rows(versioning.output(root, "preprocess"), versions)
    pictures = params.corruption_pictures if reigning else 0  # they only serve to compare two
    new, *old = (contestant(version, rows, pictures, params.seed) for version in versions)
    source = rows.facts["source"]
    if new.synthetic != source["synthetic"]:
        raise ModelError(
            f"{challenger} was trained on {new.kind}, and the test split in use ({source['name']}) is of the other kind: make "
            "the data it was trained on the source again (`fer data add`, `fer run`)"
        )
    decision = decide(new, old[0] if old else None, rows.labels, params)
    result = compare(old[0], new, rows.labels, params) if old else None
    out = page(root).parent
    write_gate(out, decision, result, data=source["name"], confidence=params.confidence)
    tracking.log_files(challenger.run_id, out, "gate")
    _tag(challenger, decision)
    return decision


def page(root: Path) -> Path:
    """Where the page of the last decision that was measured lies."""
    return versioning.output(root, "evaluate").parent / "gate" / PAGE_FILE


def _tag(version: registry.Version, decision: Decision) -> None:
    """The outcome, its table, and each number as "gate.NAME"; numbers of an earlier judgement that has other checks go."""
    tags = {f"{_TAG}{name}": f"{value:.4f}" for name, value in decision.figures.items()}
    tags |= {"gate": "passed" if decision.promoted else "failed", f"{_TAG}decision": decision.markdown()}
    for key in version.tags:
        if key.startswith(_TAG) and key not in tags:
            registry.untag_version(version, key)
    registry.tag_version(version, tags)
