"""A correction in a real Chromium: by keyboard, with and without consent, and taken back."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fer_pipeline.feedback.corrections import Corrections
from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.background.face_tokens import FaceTokens
from fer_pipeline.serving.background.feedback_inbox import FeedbackInbox
from fer_pipeline.serving.settings import ServiceSettings
from tests.serving.asking import app_with, state_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make install")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


class Site:
    """The service on a loopback port, with or without a folder for corrections."""

    def __init__(self, model: Path, inbox: Path | None) -> None:
        self.state = state_of(Recognizer.load(model))
        self.state.feedback_inbox = FeedbackInbox(inbox, ServiceSettings()) if inbox else None
        app = app_with(self.state)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        self.address = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        if self.state.feedback_inbox:
            self.state.feedback_inbox.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    made = context.new_page()
    made.set_default_timeout(30_000)
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    context.close()
    assert not complaints


@pytest.fixture
def site(brightness_model: Path, tmp_path: Path) -> Iterator[Site]:
    made = Site(brightness_model, tmp_path)
    yield made
    made.close()


def show(page: Any, address: str, picture: UInt8Array) -> None:
    page.goto(address)
    page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(picture)})
    page.wait_for_selector("#boxes .box")


def test_a_face_is_given_by_keyboard_with_consent_and_taken_back(
    page: Any, site: Site, tmp_path: Path, drawn_face: UInt8Array
) -> None:
    show(page, site.address, drawn_face)
    assert page.is_visible("#corrections")
    page.focus(".correct summary")
    page.keyboard.press("Enter")
    answered = page.inner_text(".face h3")
    offered = page.locator(".correct input[type=radio]").evaluate_all("inputs => inputs.map((input) => input.value)")
    assert len(offered) == 6
    assert answered not in offered
    assert page.is_disabled(".correct button")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the first of the expressions
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # consent
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".corrected")
    ((stored,), _) = Corrections(tmp_path).read("pending")
    assert stored.corrected == offered[0]
    assert stored.picture is not None
    assert page.inner_text(".corrected code") == stored.id
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
    page.click(".corrected button")
    page.wait_for_selector("text=Deleted.")
    assert Corrections(tmp_path).count("pending") == 0


def test_without_the_tick_no_picture_is_sent(page: Any, site: Site, tmp_path: Path, drawn_face: UInt8Array) -> None:
    show(page, site.address, drawn_face)
    page.click(".correct summary")
    page.locator(".correct input[type=radio]").first.check()
    with page.expect_request("**/feedback?*") as sent:
        page.click(".correct button")
    page.wait_for_selector(".corrected")
    assert b"filename" not in (sent.value.post_data_buffer or b"")
    ((stored,), _) = Corrections(tmp_path).read("pending")
    assert stored.picture is None


def test_a_refusal_is_told_beside_the_button(page: Any, site: Site, drawn_face: UInt8Array) -> None:
    show(page, site.address, drawn_face)
    assert site.state.feedback_inbox is not None
    site.state.feedback_inbox.tokens = FaceTokens(b"another key")
    page.click(".correct summary")
    page.locator(".correct input[type=radio]").first.check()
    page.click(".correct button")
    page.wait_for_selector(".correct-error:not(:empty)")
    assert "not one of this service" in page.inner_text(".correct-error")
    assert page.is_enabled(".correct button")


def test_where_no_corrections_are_taken_the_page_offers_none(page: Any, brightness_model: Path, drawn_face: UInt8Array) -> None:
    site = Site(brightness_model, None)
    show(page, site.address, drawn_face)
    assert page.locator(".correct").count() == 0
    assert not page.is_visible("#corrections")
    site.close()
