from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.http.middleware import script_source
from fer_pipeline.serving.http.places import Places
from fer_pipeline.serving.sandbox.job_files import RESULT_FILES
from fer_pipeline.serving.settings import Limits
from tests.serving.filming import error_of, video


def test_a_video_is_analysed_fetched_and_deleted(services: Any, film: bytes, root: Path) -> None:
    """A video is analysed and its results can be taken and deleted."""
    service = services()
    job = service.send(film)
    state = service.wait(job)
    assert (state["state"], state["progress"], state["frames"], state["error"]) == ("done", 1.0, 30, None)
    assert state["faces"] >= 25
    assert state["model"]["network"] == "brightness"
    (person,) = state["summary"]["people"]
    assert sum(person["seconds"].values()) == pytest.approx(1.2, abs=0.15)
    assert state["files"] == list(RESULT_FILES)
    files = {name: service.http.get(f"/video/{job}/files/{name}") for name in state["files"]}
    kinds = {answer.headers["content-type"].partition(";")[0] for answer in files.values()}
    document = service.http.get("/openapi.json").json()["paths"]["/video/{job}/files/{name}"]["get"]
    assert kinds == set(document["responses"]["200"]["content"])
    assert len(files["faces.jsonl"].text.splitlines()) == state["faces"]
    assert files["subtitles.vtt"].text.startswith("WEBVTT")
    assert files["annotated.webm"].headers["content-type"] == "video/webm"
    part = service.http.get(f"/video/{job}/files/annotated.webm", headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"\x1aE\xdf\xa3")
    assert pq.read_table(io.BytesIO(files["faces.parquet"].content)).num_rows == state["faces"]
    summary = files["summary.json"].json()
    assert (summary["complete"], summary["faces"], summary["info"]["width"]) == (True, state["faces"], 640)
    page = files["report.html"]
    for name in state["files"][:5]:
        assert f'href="{name}"' in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'unsafe-inline'; script-src {script_source(page.text)};")
    assert page.text.count("<script") == 1
    assert not (root / job / "video").exists()
    assert service.http.delete(f"/video/{job}").status_code == 204
    assert error_of(service.http.get(f"/video/{job}")) == (404, "video_not_found")
    assert not (root / job).exists()
    for name in files:
        assert service.http.get(f"/video/{job}/files/{name}").status_code == 404


def test_a_video_of_3840x2160_is_taken(services: Any, drawn_face: UInt8Array, tmp_path: Path) -> None:
    large = np.kron(drawn_face, np.ones((5, 6, 1), np.uint8))[:2160]
    assert large.shape == (2160, 3840, 3)
    service = services()
    state = service.wait(service.send(video(tmp_path, large, 3)))
    assert (state["error"], state["faces"], state["summary"]["width"]) == (None, 3, 3840)


def test_the_sender_chooses_how_emotions_are_joined_over_time(services: Any, film: bytes) -> None:
    service = services()
    smoothed = {}
    for way in ("smooth", "none", "hmm"):
        answer = service.http.post(f"/video?temporal={way}", content=film)
        assert (answer.status_code, answer.json()["temporal"]) == (202, way)
        job = answer.json()["job"]
        assert service.wait(job)["temporal"] == way
        last = json.loads(service.http.get(f"/video/{job}/files/faces.jsonl").text.splitlines()[-1])
        smoothed[way] = last["smoothed"]["happy"] - last["probabilities"]["happy"]
    assert smoothed["none"] == 0
    assert smoothed["hmm"] != smoothed["smooth"]
    assert error_of(service.http.post("/video?temporal=much", content=film)) == (422, "invalid_parameter")


def test_the_events_tell_the_progress_until_the_end(services: Any, film: bytes) -> None:
    service = services()
    job = service.send(film)
    answer = service.http.get(f"/video/{job}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    states = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert states[-1]["state"] == "done"
    shares = [state["progress"] for state in states if state["progress"] is not None]
    assert shares == sorted(shares)


def test_a_stalled_video_is_cut_off_and_a_slow_one_is_not(services: Any, film: bytes, root: Path) -> None:
    """A video that stops coming is cut off and one that comes slowly is not."""
    service = services(Limits(max_stall_seconds=1, max_video_results=1))
    content = film + bytes(100_000)

    async def parts(pause: float) -> AsyncIterator[bytes]:
        for start in range(0, len(content), len(content) // 4):
            yield content[start : start + len(content) // 4]
            await asyncio.sleep(pause)

    async def ask(pause: float) -> httpx.Response:
        transport = httpx.ASGITransport(service.http.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.post("/video", content=parts(pause))

    cut = asyncio.run(asyncio.wait_for(ask(20), 10))
    assert (error_of(cut), "less than 16000 bytes in 1 s" in cut.text) == ((408, "too_slow"), True)
    assert not list(root.rglob("video"))
    assert asyncio.run(ask(0.4)).status_code == 202


def test_streams_of_events_are_counted_while_they_last(services: Any, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    service = services()
    job = service.send(film)
    service.wait(job)
    admission: AdmissionController = service.http.app.state.admission  # type: ignore[attr-defined]
    seen = []
    answer = service.jobs.state
    monkeypatch.setattr(service.jobs, "state", lambda job: (seen.append(len(admission._listeners)), answer(job))[1])
    assert service.http.get(f"/video/{job}/events").status_code == 200
    assert seen[-1] == 1
    assert len(admission._listeners) == 0
    monkeypatch.setattr(admission, "_listeners", Places(0))
    assert error_of(service.http.get(f"/video/{job}/events")) == (429, "overloaded")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "video/mp4", 422, "empty_video"),
        (b"hello", "video/mp4", 415, "not_a_video"),
        (b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", "video/mp4", 415, "not_a_video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "video/mp4", 415, "not_a_video"),
        (b"x", "multipart/form-data; boundary=x", 400, "bad_request"),
        (b"\0\0\0\x18ftyp" + bytes(1_100_000), "video/mp4", 413, "upload_too_large"),
    ],
)
def test_what_is_no_video_is_refused_and_leaves_nothing(
    services: Any, content: bytes, kind: str, status: int, code: str, root: Path
) -> None:
    service = services(Limits(max_video_megabytes=1))
    answer = service.http.post("/video", content=content, headers={"content-type": kind})
    assert error_of(answer) == (status, code)
    assert [*root.glob("?" * 32)] == []


@pytest.mark.parametrize("name", ["summary.json", "..%2f..%2fstate.json", "video", "faces.jsonl"])
def test_only_results_that_are_there_are_served(services: Any, film: bytes, name: str, root: Path) -> None:
    service = services(Limits(max_video_frames=3))
    job = service.send(film)
    service.wait(job)
    assert service.http.get(f"/video/{job}/files/{name}").status_code == 404


@pytest.mark.parametrize("job", ["0" * 32, "x", "%2e%2e", "0" * 31 + "/"])
def test_an_unknown_job_is_404(services: Any, job: str) -> None:
    service = services()
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/files/faces.csv"), ("DELETE", "")):
        assert service.http.request(method, f"/video/{job}{path}").status_code in (404, 405)


def test_a_token_is_asked_for_what_gives_work(services: Any, film: bytes) -> None:
    service = services(token="s3cret")
    assert error_of(service.http.post("/video", content=film)) == (401, "unauthorized")
    answer = service.http.post("/video", content=film, headers={"authorization": "Bearer s3cret"})
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert error_of(service.http.delete(f"/video/{job}")) == (401, "unauthorized")
