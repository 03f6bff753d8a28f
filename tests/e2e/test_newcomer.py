"""README from top to bottom in a fresh clone: what a newcomer runs, in that order."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.readme_pictures import write_video

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the environment of this one, so that `make install` has nothing to do."""
    root = tmp_path_factory.mktemp("newcomer") / "fer-pipeline"
    subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
    (root / ".venv").symlink_to(Path(sys.prefix))
    return root


def run(root: Path, line: str) -> str:
    """Run a line of README with the environment on the path, as `. .venv/bin/activate` puts it."""
    homes = {name: str(root.parent / name.lower()) for name in ("PREFECT_HOME", "BENTOML_HOME")}
    environment = {**os.environ, **homes, "PATH": f"{root / '.venv' / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(shlex.split(line), cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def line_of_readme(start: str) -> str:
    (found,) = re.findall(rf"^{start}[^\n#]*", README, flags=re.MULTILINE)
    return str(found).strip()


def test_make_run_ends_with_a_champion(clone: Path) -> None:
    told = run(clone, f"{line_of_readme('make run')} --assume-old=install")
    assert "champion" in told
    assert (clone / "data" / "bundle").is_dir()
    assert json.loads(run(clone, "fer status --json"))["champion"]


def test_dvc_has_nothing_left_to_do(clone: Path) -> None:
    told = run(clone, "dvc repro")
    assert "Running stage" not in told
    assert "up to date" in told


def test_a_video_gives_the_report_that_the_pages_name(clone: Path) -> None:
    write_video(clone / "clip.mp4")
    (line,) = re.findall(r"`(fer video [^`]+)`", README)
    shown = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    told = run(clone, line)
    assert "180 frames, 180 faces, 1 person; report: out/clip/report.html" in told
    assert "180 frames, 180 faces, 1 person; report: out/clip/report.html" in shown
    assert (clone / "out" / "clip" / "report.html").is_file()


def test_own_data_become_the_source(clone: Path) -> None:
    for number, shade in (("1", 60), ("6", 160)):  # AffectNet's happy and angry
        folder = clone / "faces" / number
        folder.mkdir(parents=True)
        for name in range(3):
            cv2.imwrite(str(folder / f"{name}.png"), np.full((48, 48), shade + name, np.uint8))
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^fer data add .*", page, flags=re.MULTILINE)
    run(clone, line)
    told = run(clone, "dvc repro fetch")
    assert "1 happy" in told
    assert "6 angry" in told


@pytest.fixture
def service(clone: Path) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {**os.environ, "BENTOML_HOME": str(clone.parent / "bentoml_home")}
    process = subprocess.Popen([clone / ".venv" / "bin" / "fer", "serve", "--port", str(port)], cwd=clone, env=environment)
    end = time.monotonic() + 180
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
            break
        except OSError:
            time.sleep(0.5)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_the_service_answers_with_a_model_of_real_faces(clone: Path, service: str) -> None:
    """The champion of `make run` learned from drawn faces, so the pretrained model answers."""
    answer = json.loads(run(clone, line_of_readme("curl").replace("localhost:3000", service) + " --silent"))
    assert answer["model"]["name"] == "fast"
    assert sorted(face["emotion"] for face in answer["faces"]) == ["happy", "sad", "surprise"]
