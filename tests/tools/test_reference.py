from __future__ import annotations

import pytest

from fer_pipeline.cli.commands import ENTRIES
from fer_pipeline.config.params import Params
from fer_pipeline.inference.output_schema import FIELDS
from tools.reference import commands, http, outputs, parameters
from tools.reference.markdown import table
from tools.reference.pages import PAGES, path_of


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_up_to_date(name: str) -> None:
    assert path_of(name).read_text(encoding="utf-8") == PAGES[name](), "run `python -m tools.reference`"


def test_the_page_of_the_outputs_names_each_field() -> None:
    text = outputs.page()
    assert all(f"| `{field.column}` |" in text for field in FIELDS if field.column)
    assert all(f"| `{field.path}` |" in text for field in FIELDS if field.path)
    assert '"fer/1 (drawn faces)"' in text


def test_the_page_of_the_commands_has_each_with_its_options() -> None:
    text = commands.page()
    assert all(f"\n### fer {name}\n" in text for name in ENTRIES)
    assert "\n### fer models compare\n" in text
    assert "| `--threshold THRESHOLD` | `0.4` | Probability below" in text
    assert "| `FILES...` | needed |" in text
    assert "fer drift" not in text  # an earlier name


def test_the_page_of_the_parameters_has_each_key() -> None:
    text = parameters.page()
    assert all(f"\n## {field.alias or name}\n" in text for name, field in Params.model_fields.items())
    assert "| `lr` | number above 0 | `0.1` | largest learning rate, per step of one batch |" in text
    assert "\n## train.augment\n" in text


def test_comments_of_parameters_stand_before_and_behind_keys() -> None:
    text = "a:\n  # First\n  # line.\n  b: x#y # and behind\n  c:\n    d: [1, 2]\ne: 1 # E\n"
    assert parameters.comments_of(text) == {"a": "", "a.b": "First line. and behind", "a.c": "", "a.c.d": "", "e": "E"}


def test_the_page_of_http_has_each_route_and_type() -> None:
    text = http.page()
    assert "\n### POST /predict\n" in text
    assert "Answers: 200, [Prediction](#prediction) as application/json. Refusals: 400, 401," in text
    assert "| `faces` | list of [Face](#face) |" in text


def test_a_cell_of_a_table_breaks_no_table() -> None:
    assert table(("a", "b"), [("x|y", "<c> `<d>`\ne")]) == "| a | b |\n|---|---|\n| x\\|y | &lt;c> `<d>` e |"
