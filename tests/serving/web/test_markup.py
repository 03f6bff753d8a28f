"""What the page must have for everybody to read it, as far as its files show it."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from fer_pipeline.serving.app import WEB

HTML = (WEB / "index.html").read_text(encoding="utf-8")
CSS = (WEB / "style.css").read_text(encoding="utf-8")
VOID = ("input", "img", "link", "meta", "track")


class Elements(HTMLParser):
    """The elements of a page, each with its tag, attributes, text, and the tags that it lies in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None], list[str], tuple[str, ...]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words: list[str] = []
        self.all.append((tag, dict(attrs), words, tuple(name for name, _ in self._open)))
        if tag not in VOID:
            self._open.append((tag, words))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, words in self._open:
            words.append(data)


ELEMENTS = Elements(HTML).all


def test_each_control_has_a_name() -> None:
    nameless = [
        (tag, attributes)
        for tag, attributes, words, inside in ELEMENTS
        if tag in ("input", "select", "button", "img", "progress", "video", "dialog", "canvas")
        and "label" not in inside
        and not {"aria-label", "aria-labelledby", "alt", "aria-hidden"} & set(attributes)
        and not (tag in ("button", "video") and ("".join(words).strip() or attributes.get("id") == "player"))
    ]
    assert nameless == []


def test_ids_are_unique_and_those_that_are_named_exist() -> None:
    ids = [attributes["id"] for _, attributes, _, _ in ELEMENTS if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby", "aria-controls", "aria-describedby", "for"):
        assert {attributes[name] for _, attributes, _, _ in ELEMENTS if name in attributes} <= set(ids)
    used = {name for script in WEB.glob("*.js") for name in re.findall(r'\$\("([\w-]+)"\)', script.read_text(encoding="utf-8"))}
    assert used <= set(ids)


def test_headings_leave_no_level_out() -> None:
    levels = [int(tag[1]) for tag, _, _, _ in ELEMENTS if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_nothing_comes_from_elsewhere_and_no_script_is_inline() -> None:
    for tag, attributes, words, _ in ELEMENTS:
        assert not {"style", "onclick", "onload"} & set(attributes)
        assert tag != "script" or not "".join(words).strip()
        for name in ("src", "href"):
            assert not (attributes.get(name) or "").startswith(("http", "//")), attributes


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * letter for letter in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(scheme: int) -> None:
    """By WCAG 2: a contrast of 4.5 at least."""
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]+)", re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[scheme]))
    pairs = [(ink, paper) for ink in ("--ink", "--dim", "--accent", "--bad") for paper in ("--paper", "--card")]
    for ink, paper in [*pairs, ("--on-accent", "--accent"), ("--ink", "--warn-paper")]:
        light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
