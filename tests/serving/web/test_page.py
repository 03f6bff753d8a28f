"""Pictures on the page, in a real Chromium, and what holds for the whole page."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.output_schema import columns
from tests.serving.browsing import NEEDS_CHROMIUM, Site, Visit, start_camera

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


@pytest.fixture
def site(brightness_model: Path, tmp_path: Path) -> Iterator[Site]:
    made = Site(brightness_model, tmp_path / "videos")
    yield made
    made.close()


def test_a_picture_that_was_turned_says_so(visit: Visit, drawn_face: UInt8Array) -> None:
    lying = np.ascontiguousarray(np.rot90(drawn_face, 3))
    for name, picture in (("lying", lying), ("upright", drawn_face)):
        file = {"name": f"{name}.png", "mimeType": "image/png", "buffer": encode_png(picture)}
        visit.page.set_input_files("#file", file)
        visit.wait(f"document.querySelector('#caption').textContent.startsWith('{picture.shape[1]} ')")
        assert ("turned by 90° against the clock" in visit.words("turned")) == (name == "lying")
        assert visit.page.is_visible("#turned") == (name == "lying")


def test_a_picture_shows_its_face_and_why(visit: Visit, drawn_face: UInt8Array) -> None:
    file = {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)}
    visit.page.set_input_files("#file", file)
    visit.page.wait_for_selector("#boxes .box")
    assert visit.words("status").startswith("1 face found; face 1: ")
    visit.page.click(".explain")
    visit.wait("document.querySelector('.heat img')?.naturalWidth === 336")


def test_an_example_takes_one_click(visit: Visit) -> None:
    visit.page.click("text=Drawn faces")
    visit.wait("document.getElementById('status').textContent.includes(' found')")
    assert visit.words("result-title") == "drawn.jpg"
    assert not visit.page.is_visible("#examples")  # the zone is small now


def png(name: str, picture: UInt8Array) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": encode_png(picture)}


def test_several_pictures_are_numbered_and_downloaded(visit: Visit, drawn_face: UInt8Array) -> None:
    """Faces count from left to right; the files have the fields of the schema; a phone shows the result at once."""
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    small = cv2.resize(drawn_face[80:320, 180:420], (120, 120))
    pair = np.full((480, 800, 3), 150, np.uint8)
    pair[:, 160:] = drawn_face
    pair[200:320, 40:160] = small  # the smaller face is left: /predict names it second, the page first
    unreadable = {"name": "x.png", "mimeType": "image/png", "buffer": b"hello"}
    page.set_input_files("#file", [png("=pair.png", pair), unreadable, png("one.png", drawn_face)])
    visit.wait("document.getElementById('status').textContent === '3 pictures, 3 faces. 1 could not be read.'")
    assert visit.words("error").startswith("x.png: ")
    assert page.locator("#pictures button[aria-pressed=true]").inner_text().startswith("=pair.png")
    assert page.locator("#boxes b").evaluate_all("badges => badges.map((badge) => badge.textContent[0])") == ["1", "2"]
    left, right = page.locator("#boxes .box").evaluate_all("boxes => boxes.map((box) => parseFloat(box.style.left))")
    assert left < 20 < right
    visit.wait("scrollY > 100 && document.getElementById('frame').getBoundingClientRect().bottom < innerHeight")
    with page.expect_request("**/explain?*") as sent:
        page.locator(".explain").first.click()
    assert sent.value.url.endswith("face=2")
    with page.expect_download() as download:
        page.click("#save-csv")
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert list(rows[0]) == [*columns("pictures"), "page_number"]
    assert [(row["file"], row["face"], row["page_number"], row["error"] != "") for row in rows] == [
        ("'=pair.png", "2", "1", False),
        ("'=pair.png", "1", "2", False),
        ("x.png", "", "", True),
        ("one.png", "1", "1", False),
    ]
    with page.expect_download() as download:
        page.click("#save-json")
    first, unread, _ = json.loads(Path(download.value.path()).read_text())
    assert (unread["faces"], unread["error"]["code"]) == ([], "unsupported_picture")
    assert [face["page_number"] for face in first["faces"]] == [1, 2]
    with page.expect_download() as download:
        page.click("#save-picture")
    assert download.value.suggested_filename == "=pair-faces.jpg"
    with Image.open(download.value.path()) as picture:
        assert (picture.format, picture.size) == ("JPEG", (800, 480))
        assert np.abs(np.asarray(picture).astype(int) - pair).max() > 100
    visit.complaints = [line for line in visit.complaints if "415" not in line]


def test_a_format_that_the_browser_lacks_is_shown_as_drawn(visit: Visit, drawn_face: UInt8Array) -> None:
    """Chromium shows no TIFF: the page has the server's annotated copy in its place."""
    buffer = io.BytesIO()
    Image.fromarray(drawn_face).save(buffer, "TIFF")
    visit.page.set_input_files("#file", {"name": "face.tiff", "mimeType": "image/tiff", "buffer": buffer.getvalue()})
    visit.page.wait_for_selector("#boxes .box")
    assert visit.page.evaluate("document.getElementById('picture').naturalWidth") == drawn_face.shape[1]


def test_a_file_that_is_no_picture_is_refused_in_words(visit: Visit) -> None:
    visit.page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"hello"})
    visit.wait("!error.hidden")
    assert "none of JPEG" in visit.words("error")
    visit.complaints = [line for line in visit.complaints if "415" not in line]  # Chromium's own remark on the status


def test_a_token_is_asked_for_once(browser: Any, brightness_model: Path, tmp_path: Path, drawn_face: UInt8Array) -> None:
    """A token is asked for once and serves pictures and camera."""
    site = Site(brightness_model, tmp_path / "videos", token="s3cret")
    visit = Visit(browser, site.address)
    file = {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)}
    visit.page.set_input_files("#file", file)
    for given, wrong in (("secret", False), ("s3cret", True)):
        visit.page.wait_for_selector("#token[open]")
        assert visit.page.is_visible("#token-wrong") == wrong
        visit.page.fill("#token-value", given)
        visit.page.click("#token button[value=send]")
    visit.page.wait_for_selector("#boxes .box")
    start_camera(visit)
    visit.page.wait_for_selector("#now table")
    visit.complaints = [line for line in visit.complaints if "401" not in line]
    visit.close()
    site.close()


def test_the_page_can_be_used_without_a_mouse(visit: Visit) -> None:
    page = visit.page
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"tab-picture", "file", "whole"} <= set(names)
    page.focus("#tab-picture")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-video"
    assert page.is_visible("#panel-video")


def test_nothing_scrolls_sideways_on_a_phone_or_in_large_text(visit: Visit, drawn_face: UInt8Array) -> None:
    page = visit.page
    page.set_input_files("#file", [png("a-picture-with-a-long-name.png", drawn_face)] * 3)
    page.wait_for_selector("#boxes .box")
    page.click(".explain")
    page.wait_for_selector(".heat img")
    for width, size in ((360, 100), (390, 200), (1280, 200)):
        page.set_viewport_size({"width": width, "height": 844})
        page.evaluate(f"document.documentElement.style.fontSize = '{size}%'")
        for tab in ("picture", "video", "camera"):
            page.click(f"#tab-{tab}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, size, tab)


@pytest.fixture
def axe(tmp_path: Path) -> str:
    """The script of axe-core, from the registry of npm."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    got = subprocess.run(["npm", "pack", "axe-core@4.11.0"], cwd=tmp_path, capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"axe-core cannot be fetched: {got.stderr[-200:]}")
    with tarfile.open(tmp_path / "axe-core-4.11.0.tgz") as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def test_axe_finds_no_barrier(visit: Visit, axe: str, drawn_face: UInt8Array) -> None:
    page = visit.page
    page.set_input_files("#file", [png("one.png", drawn_face)] * 2)
    page.wait_for_selector("#boxes .box")
    page.click(".explain")
    page.wait_for_selector(".heat img")
    page.evaluate(f"{axe}; 0")
    faults = "axe.run(document).then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for tab in ("picture", "video", "camera"):
            page.click(f"#tab-{tab}")
            assert page.evaluate(faults) == []
