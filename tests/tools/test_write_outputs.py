from __future__ import annotations

from fer_pipeline.inference.output_schema import FIELDS
from tools.write_outputs import PAGE, page


def test_the_page_of_the_outputs_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tools.write_outputs`"


def test_the_page_names_each_field() -> None:
    text = page()
    assert all(f"| `{field.column}` |" in text for field in FIELDS if field.column)
    assert all(f"| `{field.path}` |" in text for field in FIELDS if field.path)
