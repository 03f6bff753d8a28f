"""The service on a loopback port, and its page in a real Chromium."""

from __future__ import annotations

import io
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import app_with, state_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make install")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class Site:
    """The service on a loopback port; `asked` lists the paths of all requests that reached it."""

    def __init__(self, model: Path, root: Path, limits: Limits | None = None, token: str | None = None) -> None:
        limits = limits or Limits()
        self.root = root
        self.asked: list[str] = []
        self._jobs = VideoJobs(root, model, limits)
        loaded = LoadedModel.read(model)
        self.state = state_of(loaded.recognizer, limits, token, self._jobs)
        self.state.model_files = loaded.files
        app = app_with(self.state)

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                self.asked.append(scope["path"])
            await app(scope, receive, send)

        self._server = uvicorn.Server(uvicorn.Config(counted, port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        self.address = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._jobs.close()


class Visit:
    """A page that is open, with all that it asked for and complained of."""

    def __init__(self, browser: Any, address: str, *, camera: bool = True, before: str = "") -> None:
        """`before` is a script that runs before those of the page."""
        self.context = browser.new_context(permissions=["camera"] if camera else [])
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.address = address
        if before:
            self.page.add_init_script(before)
        self.page.goto(address)

    def close(self) -> None:
        foreign = [url for url in self.asked if not url.startswith((self.address, "data:", f"blob:{self.address}"))]
        self.context.close()
        assert not foreign
        assert not self.complaints

    def words(self, name: str) -> str:
        return str(self.page.inner_text(f"#{name}"))

    def wait(self, script: str) -> None:
        # Not `wait_for_function`: it polls by eval in the page, which our policy forbids.
        end = time.monotonic() + 20
        while not self.page.evaluate(script):
            assert time.monotonic() < end, f"never true: {script}; the page says {self.words('status')!r} {self.words('error')!r}"
            self.page.wait_for_timeout(50)


def start_camera(visit: Visit) -> None:
    """Agree, and turn the camera on."""
    visit.page.click("#tab-camera")
    assert visit.page.is_disabled("#start")
    visit.page.check("#consent")
    visit.page.click("#start")


@contextmanager
def chromium(folder: Path, seen: UInt8Array) -> Iterator[Any]:
    """A browser whose camera shows a picture; its film is written to the folder."""
    buffer = io.BytesIO()
    Image.fromarray(seen).save(buffer, "JPEG", quality=90)
    camera = folder / "camera.mjpeg"
    camera.write_bytes(buffer.getvalue() * 10)
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    with playwright.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()
