"""Summary of a run of the pipeline, for the terminal and for Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.config.params import load_params
from fer_pipeline.evaluation.stored_metrics import read_metrics
from fer_pipeline.experiments import registry
from fer_pipeline.experiments.registry import BUNDLE_TAG
from fer_pipeline.promotion.decision import Decision
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import DATA_REPORT, EVALUATION_REPORT, PARAMS


@dataclass(frozen=True)
class Summary:
    """Result of a run: test figures, the gate's decision, the champion's bundle.

    `cached` names the stages that were not run again; `unchanged` is true where that were all of them.
    """

    metrics: dict[str, float]
    decision: Decision
    cached: tuple[str, ...]
    synthetic: bool
    bundle: str | None
    unchanged: bool = False

    def markdown(self) -> str:
        """Return figures with intervals, the decision and next steps as Markdown."""
        lines = ["# Summary", ""]
        if self.synthetic:
            lines += ["> Trained on the embedded synthetic faces: for trying the pipeline, not for real pictures.", ""]
        lines += ["| test split | value | 95 % interval |", "|---|---|---|"]
        for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
            low, high = self.metrics[f"{name}_low"], self.metrics[f"{name}_high"]
            lines.append(f"| {title} | {self.metrics[name]:.4f} | {low:.4f} to {high:.4f} |")
        lines += ["", self.decision.markdown(), ""]
        if self.cached:
            lines += [f"Unchanged or restored, not run again: {', '.join(self.cached)}.", ""]
        if self.unchanged and self.decision.already_champion:
            lines += [
                "There was nothing new to learn from, neither data nor recipe: accept what people corrected "
                "(`fer feedback accept --all-passing`) or add data (`fer data add PATH`), then run again.",
                "",
            ]
        lines += [
            "Where to look next:",
            "",
            f"- `{EVALUATION_REPORT}` and `{DATA_REPORT}`: how good it is, what it learned",
            "- `fer ui mlflow`: runs and models side by side; `fer ui prefect`: this flow run",
        ]
        if self.bundle:
            # A model of drawn faces answers only where it is named.
            command = "`fer serve --model champion`" if self.synthetic else "`fer serve`"
            lines.append(f"- {command}: the champion's bundle `{self.bundle}` with a page for trying it")
        return "\n".join(lines)


def summarise(root: Path, challenger: registry.Version, decision: Decision, cached: list[str]) -> Summary:
    """Summarise a run that ended with this decision.

    `cached` names the stages that were not run again.
    """
    metrics = read_metrics(dvc.output(root, "evaluate"))
    name = load_params(root / PARAMS).promote.model_name
    current = registry.by_alias(name, registry.CHAMPION)
    bundle = current.tags.get(BUNDLE_TAG) if current else None
    unchanged = set(cached) == set(dvc.stage_names(root))
    return Summary(metrics, decision, tuple(cached), challenger.tags.get("synthetic") == "true", bundle, unchanged)
