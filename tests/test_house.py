from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools.draw_layers import DRAWING, draw

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")


def test_the_picture_of_the_layers_is_up_to_date() -> None:
    """docs/layers.svg is what `python -m tools.draw_layers` draws from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert DRAWING.read_text(encoding="utf-8") == draw(project), "run `python -m tools.draw_layers`"


def test_the_picture_has_each_room_and_its_libraries() -> None:
    contracts = [
        {"type": "layers", "layers": ["a.cli", "fer_pipeline.high", "fer_pipeline.left | fer_pipeline.right"]},
        {"type": "protected", "protected_modules": ["keras"], "allowed_importers": ["fer_pipeline.left.deep"]},
    ]
    svg = draw({"tool": {"importlinter": {"contracts": contracts}}})
    assert re.findall(r'font-size="14"[^>]*>([^<]+)<', svg) == ["a.cli", "high", "left", "right"]
    assert re.findall(r'font-size="11"[^>]*>([^<]+)<', svg) == ["keras"]


def test_each_room_of_the_contract_is_on_the_page() -> None:
    svg = DRAWING.read_text(encoding="utf-8")
    folders = set(re.findall(r"`(?:fer_pipeline/)?(\w+)/`", PAGE))
    rooms = set(re.findall(r'font-size="14"[^>]*>([^<]+)<', svg))
    assert {room for room in rooms if (ROOT / "fer_pipeline" / room).is_dir() or room == "flows"} <= folders


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:fer_pipeline|flows)/[\w./]*|\w+\.yaml)`", PAGE))))
def test_each_path_of_the_page_exists(path: str) -> None:
    assert (ROOT / path).exists()
