"""What a run leaves on its page in Prefect: one text with links."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from fer_pipeline.experiments import registry
from fer_pipeline.promotion import gate
from fer_pipeline.promotion.decision import Decision
from fer_pipeline.workspace.layout import CARD, DATA_REPORT, EVALUATION_REPORT

_REPORTS = {
    "report of the model": EVALUATION_REPORT,
    "report of the data": DATA_REPORT,
    "card": CARD,
}


def publish(key: str, markdown: str, links: Mapping[str, str], description: str) -> None:
    """Create a Markdown artifact with links, and an artifact of the first link.

    `links` are names to URIs; the link artifact has the key KEY-page.
    """
    listed = [f"- [{name}]({uri})" for name, uri in links.items()]
    create_markdown_artifact("\n".join([markdown, "", *listed]), key=key, description=description)
    for name, uri in list(links.items())[:1]:
        create_link_artifact(uri, key=f"{key}-page", link_text=name)


def show_decision(root: Path, version: registry.Version, decision: Decision) -> None:
    """Create the artifact of a decision, with links to its page and version.

    The page is linked where it was measured; else the page is of an earlier decision.
    """
    links = {"page of the decision": gate.page(root).absolute().as_uri()} if decision.rows else {}
    address = registry.address(version)
    links |= {"version in MLflow": address} if address else {}
    publish("fer-gate", decision.markdown(), links, "What the gate decided, and the numbers")


def report_links(root: Path) -> dict[str, str]:
    """Links to the report pages that are there."""
    return {name: (root / page).absolute().as_uri() for name, page in _REPORTS.items() if (root / page).exists()}
