"""Components of report pages: tables, sections, thumbnails and number formats.

`templates/components.html` turns them into HTML. Texts are escaped there; `Markup` marks what is HTML already.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from markupsafe import Markup

from fer_pipeline.imaging import UInt8Array, encode_png

Tone = Literal["good", "warn", "bad", "dim"]
"""Colour of a text: green, amber, red or gray."""


ABSENT: Final = "\N{EN DASH}"
"""Cell of a table for a figure that was not or cannot be measured."""


class Estimate(Protocol):
    """An estimate with the bounds of its interval."""

    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Table:
    """A table of texts; without headers it holds pairs of name and value.

    `align` has one letter per column: "l" (left), "L" (left, on one line) or "r" (right, on one line). By default names in the
    first column are on the left and figures in the others on the right; without headers all are on the left.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str = ""

    @property
    def titled(self) -> bool:
        """Whether any column has a header."""
        return any(self.headers)

    @property
    def alignment(self) -> str:
        """One letter per column: "l", "L" or "r"."""
        return self.align or "l" + ("r" if self.titled else "l") * (len(self.headers) - 1)


@dataclass(frozen=True)
class BulletList:
    """A list of sentences."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A title, and below it paragraphs, lists and tables."""

    title: str
    blocks: tuple[str | BulletList | Table, ...]


@dataclass(frozen=True)
class Thumbnail:
    """A small image, gray (H, W), (H, W, 1) or RGB (H, W, 3), with lines of text.

    `alt` describes the image for readers who do not see it. `color` is a CSS colour of a bar below the image.
    """

    image: UInt8Array
    alt: str
    lines: tuple[str, ...]
    color: str = ""


def percent(share: float, digits: int = 1) -> str:
    """Format a share in percent: "66.4 %" of 0.664."""
    return f"{100 * share:.{digits}f} %"


def count(number: int) -> str:
    """Format a whole number with separators: "28,709"."""
    return f"{number:,}"


def fixed(number: float, digits: int = 3) -> str:
    """Format a number with a fixed number of decimals: "0.664"."""
    return f"{number:.{digits}f}"


def bounds(interval: Estimate, digits: int = 1) -> str:
    """Format the bounds of an interval of a share in percent: "64.1 to 68.0"."""
    return f"{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f}"


def interval(value: Estimate, digits: int = 1) -> Markup:
    """Format a share with its bounds in gray: "66.4 % (64.1 to 68.0)"."""
    return Markup("{} {}").format(percent(value.estimate, digits), toned(f"({bounds(value, digits)})", "dim"))


def change(
    value: Estimate, digits: int = 1, *, scale: float = 100, better: Literal[1, -1] = 1, undecided: Tone | None = None
) -> Markup:
    """Format a difference with its bounds in gray: "+1.2 [+0.3, +2.1]".

    It is green where the whole interval is an improvement, red where it is the opposite, else in the tone `undecided`.
    `scale` 100 turns shares into points; `better` is -1 where lower values are better.
    """
    middle, low, high = (f"{scale * part:+.{digits}f}" for part in (value.estimate, value.low, value.high))
    tone: Tone | None = undecided
    if value.low * better > 0 and value.high * better > 0:
        tone = "good"
    elif value.low * better < 0 and value.high * better < 0:
        tone = "bad"
    return Markup("{} {}").format(toned(middle, tone) if tone else middle, toned(f"[{low}, {high}]", "dim"))


def toned(text: str, tone: Tone) -> Markup:
    """Format a text in a tone."""
    return Markup('<span class="{}">{}</span>').format(tone, text)


def bold(text: str) -> Markup:
    """Format a text in bold."""
    return Markup("<b>{}</b>").format(text)


def small(text: str) -> Markup:
    """Format a text in small print."""
    return Markup("<small>{}</small>").format(text)


def code(text: str) -> Markup:
    """Format a name, key or command as code."""
    return Markup("<code>{}</code>").format(text)


def stacked(lines: Iterable[str]) -> Markup:
    """Join texts as lines of one cell."""
    return Markup("<br>").join(lines)


def image_uri(image: UInt8Array) -> str:
    """Encode an image, gray (H, W), (H, W, 1) or RGB (H, W, 3), as a PNG data URI."""
    return "data:image/png;base64," + base64.b64encode(encode_png(np.squeeze(image))).decode()


def image_cell(image: UInt8Array, alt: str, *, side: int) -> Markup:
    """Format a small image as a cell of a table, `side` CSS pixels wide and high."""
    return Markup('<img class="pixels" src="{}" alt="{}" width="{side}" height="{side}">').format(
        image_uri(image), alt, side=side
    )
