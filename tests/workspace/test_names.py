from __future__ import annotations

import pytest

from fer_pipeline.workspace.names import cell, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Zoë 絵.png", "Zoë 絵.png"),
        ("\x1b]0;owned\x07\x1b[2J.png", r"\x1b]0;owned\x07\x1b[2J.png"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),  # shown from right to left: exe.jpg
        ("a\r\nerror: forged", r"a\r\nerror: forged"),
        ("\udcff.png", r"\udcff.png"),  # no UTF-8
    ],
)
def test_what_a_name_hides_is_shown(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(name).isprintable()


def test_kept_characters_stay() -> None:
    assert printable("a\n\x1bb", keep="\n") == "a\n\\x1bb"


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1+1", "@SUM(1)", " =1", "\t=1", "\r=1", "\u3000=1"])
def test_a_cell_is_no_formula(name: str) -> None:
    assert cell(name)[0] not in "=+-@\t\r "
    assert cell("a/=b.png") == "a/=b.png"
