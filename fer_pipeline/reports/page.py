"""Write self-contained HTML pages from the templates of this room.

Figures and images are data URIs, so a page makes no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fer_pipeline.reports import components
from fer_pipeline.workspace.files import METRICS_FILE, REPORT_FILE, replaced_folder, write_json, write_text


def write_page(target: Path, template: str, **values: Any) -> None:
    """Write the page of a template such as "evaluation.html"; values are escaped.

    Templates lie in `fer_pipeline/reports/templates`; their macros are in `components.html`. A value that a template lacks is
    an error of Jinja (`UndefinedError`).
    """
    write_text(target, _environment().get_template(template).render(**values))


def load_templates() -> None:
    """Load all templates, for a process that can read no file of the package later."""
    for name in _environment().list_templates(extensions=["html"]):
        _environment().get_template(name)


def template_source(name: str) -> str:
    """Return the text of a template, whose script a policy may name by its hash."""
    source, _, _ = PackageLoader("fer_pipeline.reports").get_source(_environment(), name)
    return source


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fer_pipeline.reports"),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("percent", "count", "fixed", "bounds", "change"):
        environment.filters[name] = getattr(components, name)
    environment.filters["image"] = components.image_uri
    environment.filters["figure"] = _figure
    return environment


def _figure(drawn: Any) -> str:
    if isinstance(drawn, str):  # a data URI already
        return drawn
    from fer_pipeline.reports.figures import figure_uri  # matplotlib, which an installation for recognition does without

    return figure_uri(drawn)


def write_report(
    out: Path,
    template: str,
    metrics: Mapping[str, Any],
    *,
    metrics_file: str = METRICS_FILE,
    page_file: str = REPORT_FILE,
    **values: Any,
) -> None:
    """Replace the folder `out` by the metrics as JSON and the page of a template."""
    with replaced_folder(out) as folder:
        write_json(folder / metrics_file, metrics)
        write_page(folder / page_file, template, **values)
