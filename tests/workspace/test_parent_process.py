from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fer_pipeline.workspace import parent_process

STUBBORN = "signal.signal(signal.SIGINT, signal.SIG_IGN); "


def started(mark: str, before: str = "") -> subprocess.Popen[bytes]:
    """A process that ends with the one of this mark, or after a minute."""
    script = (
        f"import signal, time; from fer_pipeline.workspace import parent_process; {before}"
        f"parent_process.end_with({mark!r}); time.sleep(60)"
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)


def mark_of(process: subprocess.Popen[bytes], later: float = 0) -> str:
    return f"{process.pid}:{psutil.Process(process.pid).create_time() + later}"


@pytest.mark.parametrize(
    "before",
    ["", "import psutil; del parent_process.os.pidfd_open; parent_process.sys.platform = 'darwin'; "],
    ids=["the kernel tells", "it asks again and again"],
)
def test_a_process_ends_as_by_ctrl_c_when_its_parent_was_killed(before: str) -> None:
    first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    second = started(mark_of(first), before)
    time.sleep(2)
    assert second.poll() is None
    first.kill()  # and not waited for yet: as long as it is a zombie, its number is taken
    assert second.wait(timeout=20) == -signal.SIGINT
    first.wait()


def test_one_that_does_not_mind_ctrl_c_is_ended_by_the_kernel() -> None:
    first = subprocess.Popen([sys.executable, "-c", ""])
    mark = mark_of(first)
    first.wait()
    assert started(mark, STUBBORN + "parent_process._GRACE_SECONDS = 1; ").wait(timeout=20) == -signal.SIGALRM


def test_a_number_that_was_given_to_another_process_is_no_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        assert started(mark_of(other, later=-3600)).wait(timeout=20) == -signal.SIGINT
        other.kill()


def test_this_process_is_marked_by_its_number_and_start() -> None:
    number, _, since = parent_process.mark().partition(":")
    assert int(number) == os.getpid()
    assert 0 < time.time() - float(since) < 24 * 3600
