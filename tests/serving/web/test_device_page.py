from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fer_pipeline.imaging import ImageSpec, UInt8Array, encode_png
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from tests.serving.browsing import NEEDS_CHROMIUM, Site, Visit
from tests.serving.devices import LOADED, asked_of, called, crowd

"""The page that looks at pictures on the person's own device, in a real Chromium: it answers as the server, and sends nothing."""


pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


ROUNDING = 0.02


def test_a_picture_is_answered_as_by_the_server(here: Visit, site: Site, drawn_face: UInt8Array) -> None:
    """A picture is answered as by the server and nothing is asked for."""
    recognizer = site.state.recognizer
    before = (len(site.asked), len(here.asked))
    script = """
      const { predictHere } = await import("/web/device.js");
      return predictHere(new Blob([bytes(values.data)], { type: "image/png" }), values.framing);
    """
    image = crowd(drawn_face)
    lying = np.ascontiguousarray(np.rot90(drawn_face, 3))
    before = (len(site.asked), len(here.asked))
    for picture, framing in (
        (image, "auto"),
        (lying, "auto"),
        (drawn_face[100:300, 200:400], "face"),
        (np.zeros_like(lying), "auto"),
    ):
        answer = called(here, script, data=np.frombuffer(encode_png(picture), np.uint8), framing=framing)
        faces = recognizer.recognize(picture) if framing == "auto" else [recognizer.recognize_face(picture)]
        assert answer["picture"] == {"width": picture.shape[1], "height": picture.shape[0]}
        assert len(answer["faces"]) == len(faces)
        for found, face in zip(answer["faces"], faces, strict=True):
            expected = face.as_dict()
            assert list(found["probabilities"]) == list(EMOTIONS)
            # the weights have 8 bits, and the kernels of the two runtimes round differently: a near tie may fall either way
            assert list(found["probabilities"].values()) == pytest.approx(face.probabilities, abs=ROUNDING)
            assert list(expected.keys() - found.keys()) == [], "the fields of docs/outputs.md"
            second, first = sorted(face.probabilities)[-2:]
            sure = first - second > 2 * ROUNDING and abs(first - recognizer.threshold) > ROUNDING
            for name in ("emotion", "top_emotion", "reasons", "rotation") if sure else ("rotation",):
                assert found[name] == expected[name]
            assert found["relative_box"] == (expected["relative_box"] and pytest.approx(expected["relative_box"], abs=2e-4))
            assert found["box"] == (expected["box"] and pytest.approx(expected["box"], abs=0.051))
            assert found["quality"] == pytest.approx(expected["quality"], rel=2e-3, abs=0.06)
    assert answer["faces"] == []
    assert (len(site.asked), len(here.asked)) == before


def test_the_module_works_in_a_page_of_its_own(browser: Any, site: Site, drawn_face: UInt8Array) -> None:
    """The example page recognizes a picture and the camera, under the policy of the service."""
    context = browser.new_context(permissions=["camera"])
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    page.goto(f"{site.address}web/device/example.html")
    page.wait_for_selector("#file:not([disabled])")
    before = len(site.asked)
    page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)})
    page.wait_for_selector("#heat:not([hidden])")
    (face,) = site.state.recognizer.recognize(drawn_face)
    assert page.inner_text("#status") == f"{face.emotion} {100 * face.confidence:.0f} %"
    page.click("#camera")
    page.wait_for_selector("#status:text('Person 1: ')")
    assert [path for path in site.asked[before:] if path != "/favicon.ico"] == []
    context.close()
    assert faults == []


def test_the_whole_page_works_without_the_server(here: Visit, site: Site, drawn_face: UInt8Array) -> None:
    """The whole page works without asking the server for anything."""
    page = here.page
    before = len(site.asked)
    page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)})
    page.wait_for_selector("#boxes .box")
    (face,) = site.state.recognizer.recognize(drawn_face)
    assert here.words("status") == f"1 face found; face 1: {face.emotion}."
    page.click(".explain")
    here.wait("document.querySelector('.heat img')?.naturalWidth === 336")
    page.click("#tab-camera")
    assert "stay in this browser" in page.inner_text("#before")
    assert page.is_disabled("#start")
    page.check("#consent")
    page.click("#start")
    page.wait_for_selector("#now table")
    here.wait("document.getElementById('status').textContent.startsWith('Person ')")
    here.wait("overlay.getContext('2d').getImageData(0, 0, overlay.width, overlay.height).data.some((value) => value)")
    assert "Nothing leaves this browser" in page.inner_text(".where")
    page.click("#stop")
    assert page.evaluate("live.srcObject") is None
    assert len(site.asked) == before
    assert [url for url in here.asked if url.startswith("blob:")]  # the picture and the heat map, from the page itself


def test_the_choice_of_the_device_is_remembered(browser: Any, site: Site) -> None:
    """The choice is remembered and loads only when it is this device."""
    start = len(site.asked)
    visit = Visit(browser, site.address)
    visit.wait("document.querySelectorAll('#facts dt').length > 5")
    assert not [path for path in site.asked[start:] if "vendor" in path or "/model/" in path]
    visit.page.focus("#where-server")
    visit.page.keyboard.press("ArrowRight")  # a radio group, by keyboard
    visit.wait(LOADED)
    fingerprint = site.state.recognizer.info.fingerprint
    assert visit.words("loaded") == f"The model is loaded: compact {fingerprint}."
    visit.page.reload()
    visit.wait(LOADED)
    assert visit.page.is_checked("#where-device")
    visit.page.check("#where-server")
    start = len(site.asked)
    visit.page.reload()
    visit.wait("document.querySelectorAll('#facts dt').length > 5")
    assert visit.page.is_checked("#where-server")
    assert not [path for path in site.asked[start:] if "vendor" in path or "/model/" in path]
    visit.close()


def test_a_picture_of_the_device_is_not_sent_later(here: Visit, site: Site, drawn_face: UInt8Array) -> None:
    """What was shown to the device is not sent when the server is chosen."""
    page = here.page
    before = len(site.asked)
    page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)})
    page.wait_for_selector("#boxes .box")
    page.check("#where-server")
    assert not page.is_visible("#result")
    page.check("#whole")  # would look again at the picture on the page
    page.wait_for_timeout(200)
    assert len(site.asked) == before


def test_a_video_is_not_sent_while_this_device_is_chosen(here: Visit, site: Site) -> None:
    here.page.click("#tab-video")
    before = len(site.asked)
    assert not here.page.is_visible("label:has(#video-file)")
    here.page.set_input_files("#video-file", {"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"film"})
    here.wait("!error.hidden")
    assert here.words("error").startswith("Videos are analysed on the server only")
    assert len(site.asked) == before


def test_a_file_that_is_no_picture_is_named(here: Visit, drawn_face: UInt8Array) -> None:
    """A file that is no picture is named and the next one is read."""
    here.page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"hello"})
    here.wait("!error.hidden")
    assert here.words("error") == "This file is no picture that your browser reads."
    here.page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)})
    here.page.wait_for_selector("#boxes .box")


def test_a_browser_without_webassembly_is_told_so(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    words = asked_of(brightness_model, browser, tmp_path, "delete globalThis.WebAssembly")
    assert words.startswith("This browser has no WebAssembly, or it is switched off.")


def test_a_model_that_the_page_cannot_run_is_named(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    """A model that needs what the page lacks is refused by name."""
    model = Path(shutil.copytree(brightness_model, tmp_path / "denoised"))
    dataclasses.replace(ModelInfo.read(model), image_spec=ImageSpec(denoise="nlm")).write(model)
    words = asked_of(model, browser, tmp_path)
    assert words.startswith("The network brightness cannot run on this device: its faces are denoised by “nlm”")


def test_a_network_that_does_not_run_in_the_browser_is_named(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    site = Site(brightness_model, tmp_path / "videos")
    network = onnx.load(brightness_model / MODEL_FILE)
    network.graph.node[1].op_type = "Unheard"
    onnx.save(network, tmp_path / MODEL_FILE)
    info = dataclasses.replace(site.state.recognizer.info, network="strange", sha256=file_sha256(tmp_path / MODEL_FILE))
    site.state.recognizer.classifier.info = info
    site.state.model_files = dataclasses.replace(
        site.state.model_files,
        files=((MODEL_FILE, (tmp_path / MODEL_FILE).read_bytes()), ("model.json", json.dumps({}).encode())),
    )
    visit = Visit(browser, site.address)
    visit.page.check("#where-device")
    visit.wait("!error.hidden")
    assert visit.words("error").startswith("The network strange cannot run on this device: ")
    assert visit.words("loaded") == "The model is not loaded."
    visit.close()
    site.close()


def test_a_server_that_is_gone_while_the_model_loads_is_named(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    site = Site(brightness_model, tmp_path / "videos")
    visit = Visit(browser, site.address)
    visit.wait("document.querySelectorAll('#facts dt').length > 5")
    visit.page.route("**/model/network", lambda route: route.abort())
    visit.page.check("#where-device")
    visit.wait("!error.hidden")
    assert visit.words("error") == "The server cannot be reached."
    visit.page.unroute("**/model/network")
    visit.page.check("#where-server")
    visit.page.check("#where-device")
    visit.wait(LOADED)
    visit.complaints = [line for line in visit.complaints if "ERR_FAILED" not in line]
    visit.close()
    site.close()


def test_the_page_takes_the_token_before_it_gets_the_model(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    site = Site(brightness_model, tmp_path / "videos", token="s3cret")
    visit = Visit(browser, site.address)
    visit.page.check("#where-device")
    visit.page.wait_for_selector("#token[open]")
    visit.page.fill("#token-value", "s3cret")
    visit.page.click("#token button[value=send]")
    visit.wait(LOADED)
    visit.complaints = [line for line in visit.complaints if "401" not in line]
    visit.close()
    site.close()


def test_a_phone_shows_the_choice_without_scrolling_sideways(here: Visit) -> None:
    here.page.set_viewport_size({"width": 360, "height": 740})
    for tab in ("picture", "video", "camera"):
        here.page.click(f"#tab-{tab}")
        assert here.page.is_visible("#where-device")
        assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
