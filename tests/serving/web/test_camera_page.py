"""The live camera on the page, in a real Chromium with a fake camera that plays a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.serving.browsing import NEEDS_CHROMIUM, Site, Visit, start_camera
from tests.serving.devices import LOADED

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


FAILING = "(name) => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }"


@pytest.fixture
def site(brightness_model: Path, tmp_path: Path) -> Iterator[Site]:
    made = Site(brightness_model, tmp_path / "videos")
    yield made
    made.close()


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


@pytest.mark.parametrize("place", ["server", "device"])
def test_a_neutral_face_is_taken_used_and_forgotten(visit: Visit, place: str) -> None:
    """The face relative to itself is neutral, whatever the model says of it; the page says what is used.

    On a busy machine a frame may take more than a second, after which a person has another number.
    """
    page = visit.page
    if place == "device":
        page.check("#where-device")
        visit.wait(LOADED)
    start_camera(visit)
    visit.wait("document.getElementById('status').textContent.startsWith('Person ')")
    assert "neutral" not in visit.words("status")
    page.click("#neutral")
    visit.wait("document.getElementById('neutral-words').textContent.startsWith('Keep your face at rest')")
    assert page.is_disabled("#neutral")
    visit.wait("/^Person [0-9]+ is compared with the neutral face.$/.test(document.getElementById('neutral-words').textContent)")
    visit.wait("/^Person [0-9]+: neutral$/.test(document.getElementById('status').textContent)")
    page.click("#neutral-clear")
    visit.wait("document.getElementById('neutral-words').textContent === 'The neutral face was forgotten.'")
    assert not page.is_visible("#neutral-clear")
    page.click("#stop")


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
