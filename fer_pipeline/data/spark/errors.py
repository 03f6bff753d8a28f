"""Turn failures inside Spark into one sentence."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from fer_pipeline.errors import ToolUnavailableError

logger = logging.getLogger(__name__)

WARN_SECONDS, GIVE_UP_SECONDS = 30.0, 600.0
"""How long jobs may wait on a standalone cluster without any worker before a warning, and before the run ends."""

FREE_SPACE = "free space where the outputs lie, or in Spark's scratch folder (SPARK_LOCAL_DIRS, /tmp by default), and run again"

_LONGEST = 800
_PYTHON_ERROR = re.compile(r"^(?:[\w.]+\.)?\w+(?:Error|Exception|Fault)\b.*$", re.MULTILINE)


@contextmanager
def spark_errors() -> Iterator[None]:
    """Raise `ToolUnavailableError`, which names the cause, for Spark's errors."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        advice = f": {FREE_SPACE}" if "No space left on device" in str(error) else ""
        raise ToolUnavailableError(f"Spark failed: {reason(error)}{advice}") from error


def reason(error: Exception) -> str:
    """Return the most specific line of Spark's message.

    That is the error of a Python worker, else the last cause.
    """
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        found = _PYTHON_ERROR.findall(text.split("Traceback (most recent call last)")[1])
        if found:
            return str(found[-1]).removeprefix("fer_pipeline.errors.ToolUnavailableError: ")[:_LONGEST]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or [type(error).__name__])[-1 if causes else 0][:_LONGEST]


@contextmanager
def workers_watched(session: SparkSession) -> Iterator[None]:
    """End the jobs of the block where a standalone cluster has no worker for them.

    It waits for `GIVE_UP_SECONDS`; Spark itself would wait for ever, without a message. Where one of several workers dies, Spark
    gives its tasks to another one. Raises `ToolUnavailableError` in place of whatever the ended jobs raise.
    """
    if not str(session.sparkContext.master).startswith("spark://"):
        yield
        return
    over, starved = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(session, over, starved), daemon=True)
    thread.start()
    try:
        yield
    except Exception as error:
        if not starved.is_set():
            raise
        raise ToolUnavailableError(
            f"{session.sparkContext.master} had no worker for this run for {GIVE_UP_SECONDS:,.0f} s: start workers, or "
            "wait until other applications leave them, and run the same command again"
        ) from error
    finally:
        over.set()
        thread.join()


def _watch(session: SparkSession, over: threading.Event, starved: threading.Event) -> None:
    context = session.sparkContext
    since, warned = time.monotonic(), False
    while not over.wait(min(WARN_SECONDS, GIVE_UP_SECONDS) / 10):
        try:
            working = context._jsc.sc().getExecutorMemoryStatus().size() > 1  # the driver is one of them
            idle = not context.statusTracker().getActiveJobsIds()
        except Py4JError:  # the session is going away
            return
        if working or idle:
            since, warned = time.monotonic(), False
        elif time.monotonic() - since > GIVE_UP_SECONDS:
            starved.set()
            context.cancelAllJobs()
            return
        elif time.monotonic() - since > WARN_SECONDS and not warned:
            logger.warning("%s has no worker for this run: waiting until there is one", context.master)
            warned = True
