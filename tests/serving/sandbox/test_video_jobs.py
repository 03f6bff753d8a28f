from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http.model_schemas import lineage
from fer_pipeline.serving.sandbox.job_files import name_shared_root, shared_root
from fer_pipeline.serving.settings import Limits
from fer_pipeline.workspace.files import private_folder
from tests.serving.filming import error_of


def test_a_job_is_found_and_ended_from_another_worker(services: Any, long_film: bytes, root: Path) -> None:
    one, other = services(), services()
    job = one.send(long_film)
    other.wait(job, "running")
    assert other.http.delete(f"/video/{job}").status_code == 204
    assert not (root / job).exists()
    assert error_of(one.http.get(f"/video/{job}")) == (404, "video_not_found")
    assert [*root.glob("?" * 32)] == []


def test_videos_wait_for_their_turn_and_one_too_many_gets_429(services: Any, long_film: bytes) -> None:
    service = services(Limits(max_videos=1, max_videos_waiting=1, client_share_percent=100))
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


def test_a_video_of_too_much_memory_ends_its_process(services: Any, film: bytes) -> None:
    """A video that needs too much memory ends its process only."""
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


def test_jobs_of_a_dead_worker_are_lost_then_removed(services: Any, brightness_model: Path, root: Path, film: bytes) -> None:
    """What a dead worker left is told as lost and removed by the next."""
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
from fer_pipeline.serving.http.model_schemas import lineage
from fer_pipeline.serving.sandbox.job_files import UPLOAD
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
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


def test_the_folder_of_videos_is_private(tmp_path: Path) -> None:
    """The folder of videos is private and not taken from others."""
    private_folder(tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("open", "link"):
        with pytest.raises(ToolUnavailableError, match="not private"):
            private_folder(tmp_path / name)


def test_workers_of_one_service_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of one service share a folder and those of dead services go."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("FER_VIDEOS_NAME", "")
    name_shared_root()
    dead = [tmp_path / f"fer-videos-{os.getuid()}-4194999{end}" for end in ("", "-0123456789abcdef")]
    for folder in dead:
        folder.mkdir()
    assert shared_root() == shared_root()
    assert not any(folder.exists() for folder in dead)


@pytest.mark.attack
def test_a_foreign_folder_stops_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user makes the folder first, under the name that can be foreseen; process numbers can."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("FER_VIDEOS_NAME", "")
    (tmp_path / f"fer-videos-{os.getuid()}-{os.getppid()}").mkdir(mode=0o777)
    first = shared_root_of_a_service()
    private_folder(first)
    assert shared_root_of_a_service() != first


def shared_root_of_a_service() -> Path:
    name_shared_root()
    return shared_root()
