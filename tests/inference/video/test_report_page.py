"""The report of a video in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import analyse
from fer_pipeline.inference.video.report import write_report
from tests.inference.video.conftest import SMALL
from tests.serving.browsing import NEEDS_CHROMIUM, chromium

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


@pytest.fixture
def page(film: Path, recognizer: Recognizer, drawn_face: UInt8Array, tmp_path: Path) -> Iterator[Any]:
    report = write_report(tmp_path, analyse(film, recognizer, tmp_path, options=SMALL))
    with chromium(tmp_path, drawn_face) as browser:
        opened = browser.new_page(viewport={"width": 390, "height": 844})
        opened.goto(report.as_uri())
        yield opened


def test_a_click_on_the_timeline_goes_to_that_moment(page: Any) -> None:
    page.wait_for_function("player.readyState >= 2")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    bands = page.get_by_role("slider", name="Smoothed probabilities of person")
    assert bands.count() == 2
    end = float(bands.first.get_attribute("aria-valuemax"))
    bands.first.click(position={"x": bands.first.bounding_box()["width"] / 2, "y": 10})
    page.wait_for_function(f"Math.abs(player.currentTime - {end / 2}) < 0.1")
    bands.first.focus()
    page.keyboard.press("Home")
    page.wait_for_function("player.currentTime === 0")
    peak = page.locator("[data-time]").last
    peak.click()
    page.wait_for_function(f"Math.abs(player.currentTime - {peak.get_attribute('data-time')}) < 0.1")
    page.set_viewport_size({"width": 1280, "height": 800})
    widths = "['.band', '.axis'].map((name) => Math.round(document.querySelector(name).getBoundingClientRect().width))"
    assert page.evaluate(f"new Set({widths}).size") == 1  # or the ticks stand at other moments than the colours
