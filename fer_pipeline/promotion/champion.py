"""What comes after the stages: an export with its version, the champion with its bundle.

Used by the flows and by the `fer` command; the gate is in gate.py, the way back in rollback.py.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fer_pipeline.config import params as params_file
from fer_pipeline.config.params import PromoteParams
from fer_pipeline.errors import ModelError, WorkspaceBusyError
from fer_pipeline.experiments import mlflow_store, registry, runs
from fer_pipeline.experiments.registry import BUNDLE_TAG, PROMOTED_TAG
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion.bundle import bento, folder
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.files import METRICS_FILE
from fer_pipeline.workspace.layout import DATA
from fer_pipeline.workspace.locks import exclusive

if TYPE_CHECKING:
    from fer_pipeline.promotion.decision import Decision

CHAMPION_WAIT_SECONDS = 60.0
"""How long a promotion waits for another one that is moving the alias, which takes about a second."""


@dataclass(frozen=True)
class Summary:
    """What a run ends with. `cached` names the stages that were not run again, `unchanged` is whether that were all of them."""

    metrics: dict[str, float]
    decision: Decision
    cached: tuple[str, ...]
    synthetic: bool
    bundle: str | None
    unchanged: bool = False

    def markdown(self) -> str:
        """Figures with confidence intervals, the gate's decision, and where to look next."""
        lines = ["# Summary", ""]
        if self.synthetic:
            lines += ["> Trained on the embedded synthetic faces: for trying the pipeline, not for real pictures.", ""]
        lines += ["| test split | value | 95 % interval |", "|---|---|---|"]
        for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
            low, high = self.metrics[f"{name}_low"], self.metrics[f"{name}_high"]
            lines.append(f"| {title} | {self.metrics[name]:.4f} | {low:.4f} to {high:.4f} |")
        lines += ["", self.decision.markdown(), ""]
        if self.cached:
            lines += [f"Unchanged, not run again: {', '.join(self.cached)}.", ""]
        if self.unchanged and self.decision.already_champion:
            lines += [
                "There was nothing new to learn from, neither data nor recipe: accept what people corrected "
                "(`uv run fer feedback accept --all-passing`) or add data (`uv run fer data add PATH`), then run again.",
                "",
            ]
        lines += [
            "Where to look next:",
            "",
            "- `data/reports/evaluation/report.html` and `data/reports/data/index.html`: how good it is, what it learned",
            "- `uv run fer ui mlflow`: runs and models side by side; `uv run fer ui prefect`: this flow run",
        ]
        if self.bundle:
            lines.append(f"- `uv run fer serve`: the champion's bundle `{self.bundle}` with a page for trying it")
        return "\n".join(lines)


def register_export(root: Path) -> tuple[registry.Version, bool]:
    """The version of the model that `export` wrote last, alias challenger, and whether it is new.

    Writes the model card beside the reports and stores it in the run, too. The model becomes that of data/challenger.
    """
    from fer_pipeline.analysis.card.card import read_card_metadata, write_card  # draws; a roll-back must not wait for matplotlib
    from fer_pipeline.analysis.card.sections import card_sections

    params = params_file.load(root / "params.yaml")
    export = dvc.output(root, "export")
    info = ModelInfo.read(export)
    tags = registry.describing_tags(info)
    run_id = runs.ensure_run(info.lineage.get("run_id"), info.network, tags)
    card = card_folder(root)
    facts = read_card_metadata(
        export,
        dvc.output(root, "train"),
        dvc.output(root, "preprocess"),
        dvc.output(root, "evaluate"),
        card.parent,
    )
    write_card(card, facts, card_sections(facts))
    runs.log_files(run_id, card, "card")
    version, new = registry.register(export, info, params.promote.model_name, run_id, tags)
    folder.write_challenger(export, root, _names(version, registry.CHALLENGER))
    return version, new


def shadow(root: Path, reference: str) -> registry.Version:
    """Makes a version (number, run id, alias) that of data/challenger, which services in shadow mode run then; returns it."""
    version = registry.find(_promote_params(root).model_name, reference)
    with tempfile.TemporaryDirectory() as scratch:
        exported = registry.download_export(version, Path(scratch))
        folder.write_challenger(exported, root, _names(version, registry.CHALLENGER))
    return version


def card_folder(root: Path) -> Path:
    """Where the model card lies: beside the reports."""
    return dvc.output(root, "evaluate").parent / "card"


def challenger(root: Path, number: int | None) -> registry.Version:
    """The version with this number, or the one behind the alias challenger. Raises `ModelError` where there is none."""
    name = _promote_params(root).model_name
    known = registry.versions(name)
    found = (
        registry.by_alias(name, registry.CHALLENGER) if number is None else next((v for v in known if v.number == number), None)
    )
    if found is None:
        listed = f"versions are {', '.join(str(one.number) for one in known)}" if known else "none yet: run `fer run`"
        raise ModelError(f"model {name!r} has no {'challenger' if number is None else f'version {number}'} ({listed})")
    return found


def package_version(root: Path, version: registry.Version) -> str:
    """Tag of the BentoML bundle of a version, with the serving code as it is now, which is noted as the version's tag `bundle`.

    It is built unless the store holds it, and tried unless it is the one noted. Raises `ModelError` where it does not answer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        exported = registry.download_export(version, Path(scratch))
        name = f"v{version.number}-{ModelInfo.read(exported).fingerprint[:8]}"
        names = _names(version, None)  # a bento outlives the alias of the day
        tag = bento.build(exported, name, root, names, tested=version.tags.get(BUNDLE_TAG))
    registry.tag_version(version, {BUNDLE_TAG: tag})
    return tag


def set_champion(root: Path, version: registry.Version, over: str | None) -> None:
    """Makes the version the champion, notes when, and makes it the model of data/bundle.

    `over` names the champion of the moment of the decision, as `str(version)` does (None: there was none). Raises
    `WorkspaceBusyError` where another has become champion since, and changes nothing then. MLflow moves an alias without asking
    what it pointed at, so the look at the champion and the move are one step under a lock beside the registry's SQLite file.
    A registry on a server has no such place: there the lock holds for this workspace, and between two machines one look comes
    some milliseconds before the move and another after it, which raises `WorkspaceBusyError`, too.
    """
    with tempfile.TemporaryDirectory() as scratch:
        exported = registry.download_export(version, Path(scratch))
        with exclusive(mlflow_store.store_file() or root / DATA / "champion", f"set champion {version}", CHAMPION_WAIT_SECONDS):
            current = registry.by_alias(version.name, registry.CHAMPION)
            now = str(current) if current else None
            if now not in (over, str(version)):  # it is the version itself where a first try was cut short
                raise WorkspaceBusyError(
                    f"{now or 'no version'} is champion now, {version} was to follow {over or 'none'}: another promotion or "
                    f"roll-back was faster; evaluate again with `fer promote --version {version.number}`"
                )
            # A full disk fails before the alias moves. A process killed between that and the renames leaves data/bundle behind
            # the alias (`fer status` says so), one killed after them a champion without its date. `fer package` or the same
            # promotion again mends both; another roll-back would go back one more.
            with folder.replaced_bundle(exported, root, _names(version, registry.CHAMPION)):
                registry.set_alias(version, registry.CHAMPION)
            current = registry.by_alias(version.name, registry.CHAMPION)
            if current is None or current.number != version.number:
                raise WorkspaceBusyError(
                    f"{current or 'no version'} became champion at the same moment as {version}, by another workspace: `fer "
                    f"package` puts its model into data/bundle; evaluate again with `fer promote --version {version.number}`"
                )
            # A rerun does not make the champion a younger one; the gate names the version itself where a first try was cut short.
            if over != str(version) or PROMOTED_TAG not in version.tags:
                registry.tag_version(version, {PROMOTED_TAG: datetime.now(UTC).isoformat(timespec="microseconds")})


def _names(version: registry.Version, alias: str | None) -> dict[str, str]:
    return {"name": version.name, "version": str(version.number), **({"alias": alias} if alias else {})}


def champion(root: Path) -> registry.Version:
    """The version behind the alias champion. Raises `ModelError` where there is none."""
    name = _promote_params(root).model_name
    version = registry.by_alias(name, registry.CHAMPION)
    if version is None:
        raise ModelError(f"model {name!r} has no champion yet: run `fer run` first")
    return version


def champion_tag(root: Path) -> str | None:
    """Tag of the champion's bundle; None where it was not packaged."""
    return champion(root).tags.get(BUNDLE_TAG)


def summarise(root: Path, challenger: registry.Version, decision: Decision, cached: list[str]) -> Summary:
    """The summary of a run that ended with this decision."""
    metrics = json.loads((dvc.output(root, "evaluate") / METRICS_FILE).read_text(encoding="utf-8"))
    name = _promote_params(root).model_name
    current = registry.by_alias(name, registry.CHAMPION)
    bundle = current.tags.get(BUNDLE_TAG) if current else None
    unchanged = set(cached) == set(dvc.stage_names(root))
    return Summary(metrics, decision, tuple(cached), challenger.tags.get("synthetic") == "true", bundle, unchanged)


def _promote_params(root: Path) -> PromoteParams:
    return params_file.load(root / "params.yaml").promote
