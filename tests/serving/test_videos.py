from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.http.schemas import lineage
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs, shared_root
from fer_pipeline.serving.settings import Limits
from fer_pipeline.workspace.files import private_folder
from tests.serving.asking import app_with, state_of


def video(folder: Path, image: UInt8Array, frames: int, name: str = "film.mp4") -> bytes:
    path = folder / name
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4" if name.endswith(("mp4", "avi")) else "libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> bytes:
    return video(tmp_path_factory.mktemp("film"), drawn_face, 30)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> bytes:
    return video(tmp_path_factory.mktemp("film"), drawn_face, 1500)


class Service:
    """A worker of a service whose videos lie in `root`."""

    def __init__(self, model: Path, root: Path, limits: Limits, token: str | None = None) -> None:
        self.jobs = VideoJobs(root, model, limits)
        app = app_with(state_of(Recognizer.load(model), limits, token, self.jobs))
        self.http = TestClient(app, raise_server_exceptions=False)

    def send(self, content: bytes) -> str:
        answer = self.http.post("/video", content=content)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job"])

    def state(self, job: str) -> Any:
        return self.http.get(f"/video/{job}").json()

    def wait(self, job: str, *states: str) -> Any:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            state = self.state(job)
            if state["state"] in (states or ("done", "failed")):
                return state
            time.sleep(0.05)
        raise AssertionError(state)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "videos"


@pytest.fixture
def services(brightness_model: Path, root: Path, running_commands: Callable[[], list[str]]) -> Iterator[Any]:
    started: list[Service] = []

    def start(limits: Limits | None = None, token: str | None = None) -> Service:
        started.append(Service(brightness_model, root, limits or Limits(), token))
        return started[-1]

    yield start
    for service in started:
        service.jobs.close()
    assert not root.exists(), list(root.rglob("*"))
    assert not [command for command in running_commands() if "fer_pipeline.serving.sandbox.video_worker" in command]


def error_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_video_is_analysed_and_its_results_can_be_taken_and_deleted(services: Any, film: bytes, root: Path) -> None:
    service = services()
    job = service.send(film)
    state = service.wait(job)
    assert (state["state"], state["progress"], state["frames"], state["error"]) == ("done", 1.0, 30, None)
    assert state["faces"] >= 25
    assert state["model"]["network"] == "brightness"
    (person,) = state["summary"]["people"]
    assert sum(person["seconds"].values()) == pytest.approx(1.2, abs=0.15)
    assert state["files"] == ["faces.jsonl", "faces.csv", "subtitles.vtt", "annotated.webm"]
    files = {name: service.http.get(f"/video/{job}/files/{name}") for name in state["files"]}
    assert len(files["faces.jsonl"].text.splitlines()) == state["faces"]
    assert files["subtitles.vtt"].text.startswith("WEBVTT")
    assert files["annotated.webm"].headers["content-type"] == "video/webm"
    part = service.http.get(f"/video/{job}/files/annotated.webm", headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"\x1aE\xdf\xa3")
    assert not (root / job / "video").exists()
    assert service.http.delete(f"/video/{job}").status_code == 204
    assert error_of(service.http.get(f"/video/{job}")) == (404, "video_not_found")
    assert not (root / job).exists()


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


def test_a_video_that_stops_coming_is_cut_off_and_one_that_comes_slowly_is_not(services: Any, film: bytes, root: Path) -> None:
    service = services(Limits(max_upload_seconds=1, max_video_results=1))

    async def parts(pause: float) -> AsyncIterator[bytes]:
        for start in range(0, len(film), len(film) // 4):
            yield film[start : start + len(film) // 4]
            await asyncio.sleep(pause)

    async def ask(pause: float) -> httpx.Response:
        transport = httpx.ASGITransport(service.http.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.post("/video", content=parts(pause))

    cut = asyncio.run(asyncio.wait_for(ask(20), 10))
    assert (error_of(cut), "paused for more than 1 s" in cut.text) == ((408, "too_slow"), True)
    assert not list(root.rglob("video"))
    assert asyncio.run(ask(0.4)).status_code == 202


def test_streams_of_events_are_counted_while_they_last(services: Any, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    service = services()
    job = service.send(film)
    service.wait(job)
    admission: AdmissionController = service.http.app.state.admission  # type: ignore[attr-defined]
    seen = []
    answer = service.jobs.state
    monkeypatch.setattr(service.jobs, "state", lambda job: (seen.append(admission._counts["listeners"]), answer(job))[1])
    assert service.http.get(f"/video/{job}/events").status_code == 200
    assert seen[-1] == 1
    assert admission._counts["listeners"] == 0
    monkeypatch.setattr("fer_pipeline.serving.http.admission.MAX_LISTENERS", 0)
    assert error_of(service.http.get(f"/video/{job}/events")) == (429, "overloaded")


def test_a_job_is_found_and_ended_from_another_worker(services: Any, long_film: bytes, root: Path) -> None:
    one, other = services(), services()
    job = one.send(long_film)
    other.wait(job, "running")
    assert other.http.delete(f"/video/{job}").status_code == 204
    assert not (root / job).exists()
    assert error_of(one.http.get(f"/video/{job}")) == (404, "video_not_found")
    assert [*root.glob("?" * 32)] == []


def test_videos_wait_for_their_turn_and_one_too_many_gets_429(services: Any, long_film: bytes) -> None:
    service = services(Limits(max_videos=1, max_videos_waiting=1))
    first, second = service.send(long_film), service.send(long_film)
    service.wait(first, "running")
    assert service.state(second)["state"] == "queued"
    refused = service.http.post("/video", content=long_film)
    assert error_of(refused) == (429, "overloaded")
    assert refused.headers["retry-after"] == "60"
    service.http.delete(f"/video/{first}")
    service.wait(second, "running")


def test_only_so_many_results_are_kept(services: Any, film: bytes) -> None:
    service = services(Limits(max_video_results=1))
    job = service.send(film)
    service.wait(job)
    assert error_of(service.http.post("/video", content=film)) == (429, "too_many_results")
    service.http.delete(f"/video/{job}")
    service.send(film)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_video_seconds=1), "lasts"),
        (Limits(max_video_frames=20), "more than 20 frames"),
        (Limits(max_video_fps=10), "more than 10 frames a second"),
        (Limits(max_video_pixels=100_000), "pixels"),
    ],
)
def test_a_video_beyond_the_limits_fails_with_the_reason(services: Any, film: bytes, limits: Limits, words: str) -> None:
    service = services(limits)
    state = service.wait(service.send(film))
    assert (state["state"], state["error"]["code"]) == ("failed", "undecodable_video")
    assert words in state["error"]["message"]


def test_a_video_that_needs_too_much_memory_ends_its_process_only(services: Any, film: bytes) -> None:
    service = services(Limits(max_video_memory_megabytes=150))
    state = service.wait(service.send(film))
    assert (state["state"], state["error"]["code"]) == ("failed", "undecodable_video")


@pytest.mark.parametrize(
    "damage",
    ["cut", "head", "noise", "playlist"],
)
def test_a_broken_video_fails_with_a_reason(services: Any, film: bytes, damage: str) -> None:
    content = {
        "cut": film[: len(film) // 2],
        "head": film[:16],
        "noise": film[:64] + np.random.default_rng(0).bytes(20_000),
        "playlist": b"#EXT" + b"ftyp\n#EXTM3U\nfile:///etc/passwd\n",
    }[damage]
    service = services()
    state = service.wait(service.send(content))
    assert (state["state"], state["error"]["code"]) == ("failed", "undecodable_video")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "video/mp4", 422, "empty_video"),
        (b"hello", "video/mp4", 415, "not_a_video"),
        (b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", "video/mp4", 415, "not_a_video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "video/mp4", 415, "not_a_video"),
        (b"x", "multipart/form-data; boundary=x", 415, "not_a_video"),
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


def test_results_are_deleted_after_their_time(services: Any, film: bytes, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = services()
    job = service.send(film)
    service.wait(job)
    clock = time.monotonic
    monkeypatch.setattr("fer_pipeline.serving.sandbox.video_jobs.time.monotonic", lambda: 3600 * clock())  # an hour a second
    end = clock() + 30
    while (root / job).exists():
        assert clock() < end, list((root / job).iterdir())
        time.sleep(0.02)
    assert error_of(service.http.get(f"/video/{job}")) == (404, "video_not_found")


def test_closing_ends_what_is_at_work_and_removes_everything(services: Any, long_film: bytes, root: Path) -> None:
    service = services()
    service.wait(service.send(long_film), "running")
    service.jobs.close()
    assert not root.exists()


def test_what_a_dead_worker_left_is_told_as_lost_and_removed_by_the_next(
    services: Any, brightness_model: Path, root: Path, film: bytes
) -> None:
    service = services()
    model = lineage(Recognizer.load(brightness_model))
    with service.jobs.receiving() as folder:
        values = {"state": "running", "temporal": "smooth", "model": model, "progress": 0.5, "frames": 1, "faces": 0, "files": []}
        (folder / "state.json").write_text(json.dumps(values))
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    (folder / "owner").write_text(gone.stdout)
    answer = service.http.get(f"/video/{folder.name}").json()
    assert (answer["state"], answer["error"]["code"]) == ("failed", "lost")
    services()
    assert not folder.exists()


def test_the_process_of_a_video_dies_with_its_worker(services: Any, brightness_model: Path, root: Path, long_film: bytes) -> None:
    script = f"""
import os, time
from pathlib import Path
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.http.schemas import lineage
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs, UPLOAD
from fer_pipeline.serving.settings import Limits
jobs = VideoJobs(Path({str(root)!r}), Path({str(brightness_model)!r}), Limits())
with jobs.receiving() as folder:
    (folder / UPLOAD).write_bytes(Path({str(root.parent / "long.mp4")!r}).read_bytes())
    job = jobs.start(folder, None, model=lineage(Recognizer.load(Path({str(brightness_model)!r}))))
while jobs.state(job)["state"] != "running":
    time.sleep(0.02)
os.kill(os.getpid(), 9)
"""
    (root.parent / "long.mp4").write_bytes(long_film)
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    time.sleep(0.5)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(root) in " ".join(p.info["cmdline"] or [])]
    services()


def test_a_token_is_asked_for_what_gives_work(services: Any, film: bytes) -> None:
    service = services(token="s3cret")
    assert error_of(service.http.post("/video", content=film)) == (401, "unauthorized")
    answer = service.http.post("/video", content=film, headers={"authorization": "Bearer s3cret"})
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert error_of(service.http.delete(f"/video/{job}")) == (401, "unauthorized")


def test_the_folder_of_videos_is_private_and_not_taken_from_others(tmp_path: Path) -> None:
    private_folder(tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("open", "link"):
        with pytest.raises(ToolUnavailableError, match="not private"):
            private_folder(tmp_path / name)


def test_workers_of_one_service_share_a_folder_and_those_of_dead_services_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = tmp_path / f"fer-videos-{os.getuid()}-4194999"
    dead.mkdir()
    assert shared_root() == tmp_path / f"fer-videos-{os.getuid()}-{os.getppid()}"
    assert not dead.exists()
