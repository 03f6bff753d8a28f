"""Show names that others chose, of files above all, without what they may hide.

A name may hold escape sequences for the terminal, line breaks, characters that turn the direction of writing, or begin like a
formula.
"""

from __future__ import annotations

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@")


def printable(text: str, keep: str = "") -> str:
    """Return the text with escapes such as \\x1b for what cannot be printed.

    `keep` are characters that stay, such as line breaks.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)


def cell(text: str) -> str:
    """Return a text for a cell of CSV that no spreadsheet runs as a formula.

    An apostrophe comes before =, +, - and @ at the beginning, blanks left aside, as OWASP advises; what cannot be printed is
    escaped, tabs and line breaks included.
    """
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
