"""What a run leaves on its page in Prefect: texts and tables for any browser.

Links lead to MLflow's server where there is one; pages that lie on the disk of the worker are named, not linked.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from fer_pipeline.experiments.mlflow_store import artifact_address, version_address
from fer_pipeline.experiments.registry import Version
from fer_pipeline.promotion import gate
from fer_pipeline.promotion.decision import Decision
from fer_pipeline.workspace.layout import CARD, CARD_TEXT, DATA_CHECKS, DATA_REPORT, EVALUATION_REPORT


def publish(key: str, markdown: str, description: str, links: Mapping[str, str | None] | None = None) -> None:
    """Create a Markdown artifact with links, and one of the first link, KEY-page.

    `links` are names to http addresses; one that is None is left out.
    """
    known = [(name, address) for name, address in (links or {}).items() if address]
    lines = [markdown, *(["", *(f"- [{name}]({address})" for name, address in known)] if known else [])]
    create_markdown_artifact("\n".join(lines), key=key, description=description)
    for name, address in known[:1]:
        create_link_artifact(address, key=f"{key}-page", link_text=name)


def show_decision(root: Path, version: Version, decision: Decision) -> None:
    """Create the artifact of a decision, with links to its page and version.

    The page is named where it was measured; else the page is of an earlier decision.
    """
    page = gate.page(root)
    text = [decision.markdown(), *(["", on_the_worker([page])] if decision.rows else [])]
    links = {
        "page of the decision": artifact_address(version.run_id, f"gate/{page.name}") if decision.rows else None,
        f"{version} in MLflow": version_address(version),
    }
    publish("fer-gate", "\n".join(text), "What the gate decided, and the numbers", links)


def show_summary(root: Path, version: Version, markdown: str) -> None:
    """Create the artifacts of a run: summary, model card, checks of the data."""
    pages = [page for page in (EVALUATION_REPORT, DATA_REPORT, CARD) if (root / page).exists()]
    links = {
        "report of the model": artifact_address(version.run_id, f"evaluation/{EVALUATION_REPORT.name}"),
        f"{version} in MLflow": version_address(version),
    }
    text = [markdown, *(["", on_the_worker([root / page for page in pages])] if pages else [])]
    publish("fer-summary", "\n".join(text), "Figures and the gate's decision", links)
    if (root / CARD_TEXT).exists():
        publish("fer-card", (root / CARD_TEXT).read_text(encoding="utf-8"), f"The model card of {version}")
    if (root / DATA_CHECKS).exists():
        checks = json.loads((root / DATA_CHECKS).read_text(encoding="utf-8"))["checks"]
        create_table_artifact([_row(check) for check in checks], key="fer-data-checks", description="The checks of the data")


def on_the_worker(pages: list[Path]) -> str:
    """Say where pages lie that only the machine of the worker can open."""
    return f"On {socket.gethostname()}: {', '.join(f'`{page.absolute()}`' for page in pages)}"


def _row(check: Mapping[str, Any]) -> dict[str, str]:
    result = "pass" if check["success"] else "fail" if check["severity"] == "error" else check["severity"]
    return {"check": check["name"], "result": result} | {name: str(check[name]) for name in ("observed", "expected")}
