"""The built wheel in an empty environment outside the repository: recognition alone, and what it says of the rest."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.imaging import encode_png

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or Path(sys.executable).with_name("uv")
MIB = 450
LEFT_OUT = ("tensorflow", "keras", "pyspark", "mlflow", "prefect", "dvc", "great_expectations", "bentoml", "pandas", "pyarrow")
BARE = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "PYTHONNOUSERSITE": "1"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run([UV, "build", "--wheel", "--quiet", "--out-dir", out, ROOT], cwd=out, environment=dict(os.environ))
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13"])
def light(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it needs."""
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} on this machine")
    folder = tmp_path_factory.mktemp("light")
    run([UV, "venv", "--quiet", "--python", python, folder / "venv"], cwd=folder, environment=dict(os.environ))
    install = [UV, "pip", "install", "--quiet", "--python", folder / "venv" / "bin" / "python", wheel]
    run(install, cwd=folder, environment=dict(os.environ))
    return folder


def interpreter(version: str) -> Path | None:
    named = shutil.which(f"python{version}")
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
    for python in ([Path(named)] if named else []) + installed:
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:  # pyenv's own is a script
            return python
    return None


def run(
    command: list[Path | str], cwd: Path, environment: dict[str, str] = BARE, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done


def test_the_light_environment_is_small(light: Path) -> None:
    (packages,) = (light / "venv").glob("lib/python*/site-packages")
    assert [name for name in LEFT_OUT if (packages / name).exists()] == []
    assert list(packages.glob("fer_pipeline/weights/*/model.keras")) == []
    files = [path for path in packages.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) / 2**20 <= MIB


def test_the_light_environment_recognizes_faces(
    light: Path, drawn_face: npt.NDArray[np.uint8], write_video: Callable[..., Path]
) -> None:
    (light / "face.png").write_bytes(encode_png(drawn_face))
    write_video(light / "clip.mp4", [drawn_face] * 8)
    fer = light / "venv" / "bin" / "fer"
    for model in ("fast", "accurate"):
        answer = json.loads(run([fer, "predict", "face.png", "--json", "--model", model], cwd=light).stdout)
        assert len(answer["faces"]) == 1
    run([fer, "explain", "face.png", "--out", "why.png"], cwd=light)
    assert (light / "why.png").read_bytes().startswith(b"\x89PNG")
    told = run([fer, "video", "clip.mp4", "--out", "out"], cwd=light)
    assert "fer-pipeline[tables]" in told.stderr
    assert '<div class="band"' in (light / "out" / "clip" / "report.html").read_text()
    code = "from fer_pipeline.inference.recognizer import Recognizer; print(Recognizer.load('fast').info.network)"
    assert run([light / "venv" / "bin" / "python", "-c", code], cwd=light).stdout == "compact\n"


def test_the_first_answers_of_readme_come_from_it(light: Path) -> None:
    (light / "docs" / "pictures").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "docs" / "pictures" / "faces.jpg", light / "docs" / "pictures")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    told = run([light / "venv" / "bin" / "python", "-c", code], cwd=light).stdout
    assert [line.split()[0] for line in told.splitlines()] == ["happy", "sad", "surprise"]
    (line,) = re.findall(r"^fer predict .*", readme, flags=re.MULTILINE)
    assert ": 3 faces" in run([light / "venv" / "bin" / "fer", *line.split()[1:]], cwd=light).stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["run"], "pipeline"),
        (["status"], "pipeline"),
        (["doctor"], "pipeline"),
        (["ui", "prefect"], "pipeline"),
        (["explain", "face.png", "--faces", "crop", "--out", "x.png", "--method", "lime"], "pipeline"),
        (["serve"], "serve"),
    ],
)
def test_a_command_of_an_extra_names_it_in_one_line(
    light: Path, drawn_face: npt.NDArray[np.uint8], command: list[str], extra: str
) -> None:
    (light / "face.png").write_bytes(encode_png(drawn_face))
    told = run([light / "venv" / "bin" / "fer", *command], cwd=light, code=8).stderr.strip().splitlines()[-1]
    assert told.startswith("error: this needs ")
    assert told.endswith(f"`pip install 'fer-pipeline[{extra}]'`")
