"""Videos on the page, in a real Chromium."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from fer_pipeline.imaging import UInt8Array
from tests.serving.browsing import NEEDS_CHROMIUM, Site, Visit

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


@pytest.fixture
def site(brightness_model: Path, tmp_path: Path) -> Iterator[Site]:
    made = Site(brightness_model, tmp_path / "videos")
    yield made
    made.close()


def film(folder: Path, image: UInt8Array, frames: int, then: Sequence[UInt8Array] = ()) -> Path:
    path = folder / "film.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
        for frame in [*[image] * frames, *then]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_video_has_a_timeline_and_can_be_deleted(visit: Visit, site: Site, tmp_path: Path, drawn_face: UInt8Array) -> None:
    """A video is played with a timeline and deleted on request."""
    page = visit.page
    page.click("#tab-video")
    page.set_input_files("#video-file", film(tmp_path, drawn_face, 50))
    page.wait_for_selector("#video-result:not([hidden])")
    visit.wait("player.readyState >= 2")
    assert visit.words("status") == "1 person in 50 frames."
    assert "Person 1 over time: " in page.get_attribute(".stack", "aria-label")
    assert page.locator("#downloads a").count() == 7
    page.click(".stack", position={"x": page.evaluate("document.querySelector('.stack').clientWidth / 2"), "y": 20})
    visit.wait("Math.abs(player.currentTime - 1) < 0.1")
    page.click("#forget")
    visit.wait("document.getElementById('status').textContent.includes('deleted')")
    visit.wait("document.getElementById('video-result').hidden")
    end = time.monotonic() + 10
    while [*site.root.glob("?" * 32)] and time.monotonic() < end:
        time.sleep(0.05)
    assert [*site.root.glob("?" * 32)] == []


def test_the_timeline_is_an_accessible_slider(visit: Visit, tmp_path: Path, drawn_face: UInt8Array) -> None:
    """The timeline of a video is a slider for the keyboard that speaks time and expression."""
    page = visit.page
    page.click("#tab-video")
    empty = np.full_like(drawn_face, 128)
    page.set_input_files("#video-file", film(tmp_path, drawn_face, 50, then=[empty] * 50))
    page.wait_for_selector("#video-result:not([hidden])")
    visit.wait("player.readyState >= 2")
    slider = page.get_by_role("slider", name="Person 1 over time")
    page.focus("#forget")
    while not slider.evaluate("(it) => it === document.activeElement"):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement !== document.body")
    address = page.get_attribute("[download='faces.jsonl']", "href")
    label = json.loads(page.request.get(visit.address + address).text().splitlines()[0])["smoothed_emotion"]
    scrolled = page.evaluate("scrollY")
    end = float(slider.get_attribute("aria-valuemax"))
    assert end == pytest.approx(4, abs=0.1)
    for key, place, words in (
        ("ArrowRight", 0.5, f"0.5 seconds, {label}"),
        ("ArrowUp", 1.0, f"1.0 seconds, {label}"),
        ("ArrowLeft", 0.5, f"0.5 seconds, {label}"),
        ("PageUp", end, f"{end:.1f} seconds, out of sight"),
        ("PageDown", 0, f"0.0 seconds, {label}"),
        ("ArrowDown", 0, f"0.0 seconds, {label}"),
        ("End", end, f"{end:.1f} seconds, out of sight"),
        ("Home", 0, f"0.0 seconds, {label}"),
    ):
        page.keyboard.press(key)
        assert slider.get_attribute("aria-valuetext") == words, key
        assert float(slider.get_attribute("aria-valuenow")) == pytest.approx(place, abs=0.06), key
        visit.wait(f"Math.abs(player.currentTime - {place}) < 0.01")
    assert page.evaluate("scrollY") == scrolled
    page.keyboard.press("a")
    assert slider.get_attribute("aria-valuetext") == f"0.0 seconds, {label}"


def test_the_temporal_mode_is_chosen_by_keyboard(visit: Visit, site: Site, tmp_path: Path, drawn_face: UInt8Array) -> None:
    """How answers are joined over time is chosen by keyboard and named with the result."""
    page = visit.page
    page.click("#tab-video")
    choice = page.get_by_label("Smoothing over time")
    assert choice.input_value() == "hmm"
    for key, way in (("ArrowDown", "none"), ("Home", "smooth")):
        choice.focus()
        page.keyboard.press(key)
        assert choice.input_value() == way
        page.set_input_files("#video-file", film(tmp_path, drawn_face, 10))
        page.wait_for_selector("#video-result:not([hidden])")
        assert visit.words("joined").endswith(f"({way})")
        (job,) = site.root.glob("?" * 32)
        assert json.loads((job / "state.json").read_text())["temporal"] == way
        page.click("#forget")
        visit.wait("document.getElementById('status').textContent.includes('deleted')")


def test_a_damaged_video_is_named_in_plain_words(visit: Visit, tmp_path: Path, drawn_face: UInt8Array) -> None:
    visit.page.click("#tab-video")
    whole = film(tmp_path, drawn_face, 50).read_bytes()
    cut = {"name": "cut.mp4", "mimeType": "video/mp4", "buffer": whole[: len(whole) // 2]}
    visit.page.set_input_files("#video-file", cut)
    visit.wait("!error.hidden")
    assert visit.words("error") == "This video is damaged or incomplete: copy or record it again."
    assert visit.page.is_visible("text=Choose a video")


def test_a_video_can_be_cancelled(visit: Visit, site: Site, tmp_path: Path, drawn_face: UInt8Array) -> None:
    visit.page.click("#tab-video")
    visit.page.set_input_files("#video-file", film(tmp_path, drawn_face, 2000))
    visit.wait("document.getElementById('progress-words').textContent.startsWith('Analysing')")
    visit.page.click("#cancel")
    visit.wait("document.getElementById('status').textContent.startsWith('Cancelled')")
    end = time.monotonic() + 10
    while [*site.root.glob("?" * 32)] and time.monotonic() < end:
        time.sleep(0.05)
    assert [*site.root.glob("?" * 32)] == []
