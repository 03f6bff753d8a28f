"""The reference page in a browser, and its examples run against a service."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.serving.background.feedback_inbox import FeedbackInbox
from fer_pipeline.serving.reference.examples import ADDRESS, FACE_TOKEN, ID, LANGUAGES, SAMPLES
from fer_pipeline.serving.settings import ServiceSettings
from tests.serving.browsing import NEEDS_CHROMIUM, Site, Visit
from tests.serving.filming import video

pytestmark = NEEDS_CHROMIUM

NO_TOKEN = "only a service with a token is told to reload"
"""What the one operation is answered that this service refuses."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name in ("portrait.jpg", "first.jpg", "second.png"):
        Image.fromarray(drawn_face).save(folder / name)
    video(folder, drawn_face, 5, "talk.mp4")
    return folder


@pytest.fixture(scope="module")
def service(site: Site, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that takes corrections and has a model card; a client of it."""
    site.state.card = "<h1>Model card</h1>"
    site.state.feedback_inbox = FeedbackInbox(tmp_path_factory.mktemp("inbox"), ServiceSettings())
    with httpx.Client(base_url=site.address, timeout=60) as client:
        yield client
    site.state.feedback_inbox.close()


@pytest.fixture(scope="module")
def film(service: httpx.Client, files: Path) -> str:
    """A video that is done."""
    job = str(service.post("video", content=(files / "talk.mp4").read_bytes()).json()["job"])
    assert '"state": "done"' in service.get(f"video/{job}/events").text
    return job


def run_curl(source: str, folder: Path) -> None:
    command = source.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def run_python(source: str, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as place:
        place.chdir(folder)
        try:
            exec(compile(source, "example", "exec"), {})
        except httpx.HTTPStatusError as error:
            raise RuntimeError(error.response.text) from error


@pytest.fixture
def run_javascript(browser: Any, site: Site) -> Iterator[Callable[[str, Path], None]]:
    page = browser.new_page()
    page.goto(f"{site.address}docs")
    page.evaluate("document.body.append(Object.assign(document.createElement('input'), {type: 'file', multiple: true}))")

    def run(source: str, folder: Path) -> None:
        wanted = ("talk.mp4",) if '"video", files' in source else ("first.jpg", "second.png")
        page.set_input_files("input", [folder / name for name in wanted])
        if "EventSource" not in source:
            page.evaluate(f"async () => {{ {source} }}")
            return
        with page.expect_console_message(lambda line: line.text.startswith("done")):
            page.evaluate(f"() => {{ {source} }}")

    yield run
    page.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_examples_run(language: str, service: httpx.Client, film: str, files: Path, run_javascript: Any) -> None:
    run = {"curl": run_curl, "Python": run_python, "JavaScript": run_javascript}[language]
    address = str(service.base_url).rstrip("/")
    picture, clip = (files / "portrait.jpg").read_bytes(), (files / "talk.mp4").read_bytes()

    def correctable() -> str:
        return str(service.post("predict", files={"picture": picture}).json()["faces"][0]["feedback"])

    def corrected() -> str:
        form = {"token": (None, correctable()), "correction": (None, "sad")}
        return str(service.post("feedback", files=form).json()["id"])

    for path, operations in service.get("openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            (source,) = (sample["source"] for sample in operation[SAMPLES] if sample["label"] == language)
            source = source.replace(ADDRESS, address).replace(FACE_TOKEN, correctable() if path == "/feedback" else "")
            known = corrected() if "receipt" in path else film
            if method == "delete" and "job" in path:
                known = str(service.post("video", content=clip).json()["job"])
            if path == "/admin/reload":
                with pytest.raises(Exception, match=NO_TOKEN):
                    run(source, files)
            else:
                run(source.replace(ID, known), files)
    if language != "JavaScript":
        assert Image.open(io.BytesIO((files / "annotate.jpg").read_bytes())).size == (640, 480)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_reference_page_has_no_sideways_scroll(browser: Any, site: Site, width: int) -> None:
    visit = Visit(browser, f"{site.address}docs", camera=False)
    visit.address = site.address
    visit.page.set_viewport_size({"width": width, "height": 800})
    visit.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.close()
