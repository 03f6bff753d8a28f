"""Draw docs/layers.svg from the import-linter contracts of pyproject.toml.

Run `python -m tools.draw_layers` after a change of the contracts.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
DRAWING = ROOT / "docs" / "layers.svg"

_WIDTH, _HEIGHT, _GAP, _MARGIN = 900, 40, 8, 12
_LEGEND = "A room imports only rooms in the rows below its own. In small print: libraries that only the rooms naming them import."


def draw(project: dict[str, Any]) -> str:
    """Return the SVG of the layers in a parsed pyproject.toml, highest layer on top.

    One row per layer, one box per room. Below a room's name stand the libraries that it may import, by the contracts of type
    `protected`: no room without the library's name may.
    """
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rows = [re.split(r" [|:] ", layer) for layer in layers]
    libraries = _libraries(contracts)
    height = 2 * _MARGIN + len(rows) * (_HEIGHT + _GAP) - _GAP + 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *(part for number, row in enumerate(rows) for part in _row(number, row, libraries)),
        f'<text x="{_MARGIN}" y="{height - 10}" font-size="13" fill="#555555">{_LEGEND}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _row(number: int, rooms: list[str], libraries: dict[str, list[str]]) -> list[str]:
    top = _MARGIN + number * (_HEIGHT + _GAP)
    weights = [max(len(_name(room)), sum(len(word) + 2 for word in libraries.get(room, [])) * 0.8) + 3 for room in rooms]
    space = _WIDTH - 2 * _MARGIN - _GAP * (len(rooms) - 1)
    parts, left = [], float(_MARGIN)
    for room, weight in zip(rooms, weights, strict=True):
        width = space * weight / sum(weights)
        middle = left + width / 2
        held = ", ".join(libraries.get(room, []))
        parts.append(
            f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{_HEIGHT}" rx="5" fill="#eef3f8" stroke="#1d4e89"/>'
        )
        parts.append(
            f'<text x="{middle:.0f}" y="{top + (18 if held else 25)}" font-size="14" text-anchor="middle">{_name(room)}</text>'
        )
        if held:
            parts.append(
                f'<text x="{middle:.0f}" y="{top + 33}" font-size="11" fill="#555555" text-anchor="middle">{escape(held)}</text>'
            )
        left += width + _GAP
    return parts


def _libraries(contracts: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for contract in contracts:
        if contract["type"] != "protected":
            continue
        for importer in contract["allowed_importers"]:
            room = re.match(r"fer_pipeline\.\w+|\w+", importer)
            assert room, importer
            held = found.setdefault(room[0], [])
            held.extend(library for library in contract["protected_modules"] if library not in held)
    return found


def _name(room: str) -> str:
    return escape(room.removeprefix("fer_pipeline."))


if __name__ == "__main__":
    DRAWING.write_text(draw(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))), encoding="utf-8")
