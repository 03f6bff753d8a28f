"""Two workers of one service. Each request goes over a connection of its own, which the kernel gives to either of them."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from benchmarks.load import Server, served
from tests.serving.asking import FLAT_FACE
from tests.serving.filming import video

pytestmark = pytest.mark.slow

ASKED = 16  # all of them reach the same worker once in 32,000 times


@pytest.fixture(scope="module")
def server(brightness_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    scratch, feedback = tmp_path_factory.mktemp("scratch"), tmp_path_factory.mktemp("feedback")
    two = {"BENTOML_CONFIG_OPTIONS": "services.fer.workers=2", "FER_FEEDBACK": str(feedback), "TMPDIR": str(scratch)}
    with served(brightness_model, **two) as started:
        yield started
    assert list(scratch.iterdir()) == []


def ask(server: Server, method: str, path: str, **content: Any) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{server.port}{path}", timeout=30, **content)


def wait_for_two(server: Server) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        children = psutil.Process(server.process).children()
        if sum("_bentoml_impl.worker.service" in child.cmdline() for child in children) == 2:
            return
        time.sleep(0.1)
    pytest.fail(str(children))


def test_there_are_two(server: Server) -> None:
    wait_for_two(server)


def test_workers_share_tokens_and_sum_metrics(server: Server) -> None:
    """Tokens of one are taken by the other and metrics are sums."""
    faces = [ask(server, "POST", "/predict?framing=face", files={"picture": FLAT_FACE}).json()["faces"][0] for _ in range(ASKED)]
    for face in faces:
        taken = ask(server, "POST", "/feedback", files={"token": (None, face["feedback"]), "correction": (None, "sad")})
        assert taken.status_code == 201, taken.text
    counts = {
        re.findall(
            r'^fer_faces_total\{emotion="happy",source="picture"\} (.*)$', ask(server, "GET", "/metrics").text, re.MULTILINE
        )[0]
        for _ in range(ASKED)
    }
    assert counts == {f"{ASKED}.0"}


def test_a_video_of_one_is_known_to_the_other(server: Server, tmp_path: Path) -> None:
    film = video(tmp_path, np.full((120, 160, 3), 125, np.uint8), 25)
    job = ask(server, "POST", "/video", content=film).json()["job"]
    end = time.monotonic() + 60
    while ask(server, "GET", f"/video/{job}").json()["state"] != "done" and time.monotonic() < end:
        time.sleep(0.2)
    states = [ask(server, "GET", f"/video/{job}").json()["state"] for _ in range(ASKED)]
    assert set(states) == {"done"}
    assert {ask(server, "GET", f"/video/{job}/files/faces.csv").status_code for _ in range(ASKED)} == {200}
    assert ask(server, "DELETE", f"/video/{job}").status_code == 204
    assert {ask(server, "GET", f"/video/{job}").status_code for _ in range(ASKED)} == {404}


def test_a_reload_reaches_both(brightness_model: Path, mirrored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(brightness_model, folder)
    two = {"BENTOML_CONFIG_OPTIONS": "services.fer.workers=2", "FER_TOKEN": "secret", "FER_MODEL_DIR": str(folder)}

    def networks() -> set[str]:
        return {ask(server, "GET", "/model").json()["network"] for _ in range(ASKED)}

    with served(brightness_model, **two) as server:
        wait_for_two(server)
        assert networks() == {"brightness"}
        shutil.copytree(mirrored, folder, dirs_exist_ok=True)
        answer = ask(server, "POST", "/admin/reload", headers={"Authorization": "Bearer secret"})
        assert (answer.status_code, answer.json()["changed"]) == (200, True)
        end = time.monotonic() + 20
        while networks() != {"mirrored"}:
            assert time.monotonic() < end
