from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from fer_pipeline.reports.components import BulletList, Section, Table, bold
from fer_pipeline.reports.page import write_page, write_report

SECTION = Section(
    "Data <1>",
    ("A paragraph.", BulletList(("first & last",)), Table(("emotion", "rows"), (("<sad>", "12"), (bold("all"), "84")))),
)


def page(tmp_path: Path, **values: Any) -> str:
    write_page(tmp_path / "page.html", "model_card.html", **{"title": "Card", "notice": None, "sections": (SECTION,)} | values)
    return (tmp_path / "page.html").read_text()


def test_a_section_holds_paragraphs_lists_and_tables(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "<h2>Data &lt;1&gt;</h2>" in text
    assert "<p>A paragraph.</p>" in text
    assert "<li>first &amp; last</li>" in text
    assert '<tr><th>emotion</th><th class="n">rows</th></tr>' in text
    assert '<tr><td>&lt;sad&gt;</td><td class="n">12</td></tr>' in text
    assert "<td><b>all</b></td>" in text


def test_a_notice_is_there_only_where_one_is_given(tmp_path: Path) -> None:
    assert 'class="notice"' not in page(tmp_path)
    assert re.search(r'<p class="notice"><b>Synthetic.</b>\s*</p>', page(tmp_path, notice="Synthetic."))


def test_a_value_that_a_template_lacks_is_an_error_and_no_page(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="title"):
        write_page(tmp_path / "page.html", "model_card.html", notice=None, sections=())
    assert list(tmp_path.iterdir()) == []


def test_a_report_replaces_its_folder_by_metrics_and_page(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").touch()
    write_report(tmp_path / "out", "model_card.html", {"rows": 3}, title="Card", notice=None, sections=())
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"metrics.json", "report.html"}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {"rows": 3}
