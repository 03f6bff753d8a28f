"""The page in a real Chromium, with a fake camera that plays a file."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.output_schema import columns
from tests.serving.browsing import NEEDS_CHROMIUM, Site, Visit, chromium

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


FAILING = "(name) => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }"


@pytest.fixture
def site(brightness_model: Path, tmp_path: Path) -> Iterator[Site]:
    made = Site(brightness_model, tmp_path / "videos")
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("camera"), drawn_face) as started:
        yield started


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Visit]:
    made = Visit(browser, site.address)
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
    assert page.locator("#downloads a").count() == 4
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


def start_camera(visit: Visit) -> None:
    visit.page.click("#tab-camera")
    assert visit.page.is_disabled("#start")
    visit.page.check("#consent")
    visit.page.click("#start")


def test_the_camera_needs_consent_shows_that_it_is_on_and_stops(visit: Visit) -> None:
    page = visit.page
    start_camera(visit)
    page.wait_for_selector("#now table")
    assert page.is_visible(".on-air")
    assert page.title().startswith("● ")
    visit.wait("document.getElementById('status').textContent.startsWith('Person 1: ')")
    visit.wait("overlay.getContext('2d').getImageData(0, 0, overlay.width, overlay.height).data.some((value) => value)")
    visit.wait("plot.getContext('2d').getImageData(plot.width - 40, 0, 40, plot.height).data.some((value) => value)")
    with page.expect_download() as download:
        page.click("#snapshot")
    with Image.open(download.value.path()) as picture:
        assert picture.size == (640, 480)
    page.click("#stop")
    assert visit.words("status") == "The camera is off."
    assert page.evaluate("live.srcObject") is None
    assert not page.is_visible(".on-air")
    assert not page.title().startswith("● ")
    assert not page.is_checked("#consent")  # whoever comes next is asked again
    assert page.is_disabled("#start")


WATCHED = """
  window.sockets = [];
  const Plain = WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...all) { super(...all); sockets.push(Object.assign(this, { texts: [], faces: 0 }));
      this.addEventListener("message", ({ data }) => (this.faces += JSON.parse(data).type === "faces")); }
    send(data) { if (typeof data === "string") this.texts.push(JSON.parse(data)); super.send(data); }
  };
  const devices = navigator.mediaDevices;
  const [list, get] = [devices.enumerateDevices.bind(devices), devices.getUserMedia.bind(devices)];
  window.opened = [];
  devices.enumerateDevices = async () => [...(await list()), { kind: "videoinput", deviceId: "second", label: "Second" }];
  devices.getUserMedia = ({ video: { deviceId, ...video } }) => { opened.push(deviceId?.exact); return get({ video }); };
"""


def test_a_camera_goes_on_after_a_lost_connection(browser: Any, site: Site) -> None:
    """The camera connects again, and takes another camera and another way of smoothing."""
    visit = Visit(browser, site.address, before=WATCHED)
    page = visit.page
    start_camera(visit)
    visit.wait("sockets[0]?.faces > 1")
    assert page.evaluate("sockets[0].texts") == [{"type": "start", "temporal": "hmm"}]
    page.evaluate("sockets[0].close()")
    visit.wait("document.getElementById('status').textContent.includes('Connecting again (1 of 5)')")
    visit.wait("sockets[1]?.faces > 1")
    assert page.is_visible(".on-air")
    visit.wait("document.getElementById('status').textContent.startsWith('Person 1')")
    page.select_option("#camera-temporal", "none")
    visit.wait("sockets[2]?.faces > 1")
    assert page.evaluate("sockets[2].texts[0].temporal") == "none"
    page.select_option("#camera-device", "second")  # there is no second one: the script above gives the first again
    visit.wait("sockets[3]?.faces > 1")
    assert page.evaluate("opened") == [None, "second"]
    assert page.evaluate("sockets.map(({ readyState }) => readyState)")[-1] == 1
    visit.close()


def test_leaving_the_camera_turns_it_off(visit: Visit) -> None:
    start_camera(visit)
    visit.page.wait_for_selector("#now table")
    visit.page.focus("#tab-camera")
    visit.page.keyboard.press("ArrowRight")
    assert visit.page.get_attribute("#tab-picture", "aria-selected") == "true"
    assert visit.page.evaluate("live.srcObject") is None


def test_a_camera_without_permission_is_named(browser: Any, site: Site) -> None:
    visit = Visit(browser, site.address, camera=False)
    visit.page.evaluate(FAILING, "NotAllowedError")
    start_camera(visit)
    visit.wait("!error.hidden")
    assert visit.words("error").startswith("No permission")
    visit.page.evaluate(FAILING, "NotFoundError")
    visit.page.click("#start")
    visit.wait("document.getElementById('error').textContent.startsWith('No camera')")
    visit.close()


def test_a_page_without_https_says_so(browser: Any, site: Site) -> None:
    visit = Visit(browser, site.address)
    visit.page.evaluate("Object.defineProperty(window, 'isSecureContext', { value: false })")
    start_camera(visit)
    visit.wait("!error.hidden")
    assert visit.words("error").startswith("Not https")
    visit.close()


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


def test_a_phone_shows_all_without_scrolling_sideways(browser: Any, site: Site) -> None:
    visit = Visit(browser, site.address)
    visit.page.set_viewport_size({"width": 360, "height": 740})
    for tab in ("picture", "video", "camera"):
        visit.page.click(f"#tab-{tab}")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.close()
