"""Exit when the parent process dies.

The kernel's own means, PR_SET_PDEATHSIG, tells of the parent alone, and DVC puts a shell in between.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Final

OWNER_VARIABLE: Final = "FER_STAGE_OWNER"
"""Names the process that started a stage, for the command of the stage."""

_GRACE_SECONDS = 10
_POLL_SECONDS = 1.0
_CLOCK_SECONDS = 2.0  # by which the start of one process may differ from reading to reading, as the clock is set


def mark() -> str:
    """Return number and start time of this process, for `OWNER_VARIABLE`.

    The number alone may be that of another process later.
    """
    import psutil  # here, so that commands without stages do not load it

    return f"{os.getpid()}:{psutil.Process().create_time()}"


def end_with(owner: str) -> None:
    """End this process when the one of that mark has ended.

    It gets SIGINT first, so that it tidies up, and is ended 10 seconds later. Returns at once. Raises `ValueError` where `owner`
    is no mark.
    """
    number, _, started = owner.partition(":")
    threading.Thread(target=_outlive, args=(int(number), float(started)), name="owner", daemon=True).start()


def _outlive(pid: int, started: float) -> None:
    _wait(pid, started)
    signal.alarm(_GRACE_SECONDS)  # by its default the kernel ends the process then, in whatever code it hangs
    os.kill(os.getpid(), signal.SIGINT)


def _wait(pid: int, started: float) -> None:
    descriptor = None
    if sys.platform == "linux":
        with suppress(OSError):  # it has ended, which is seen below, or the kernel or a sandbox refuses the call
            descriptor = os.pidfd_open(pid)
    if descriptor is not None and _runs(pid, started):
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        ended.poll()
    while _runs(pid, started):
        time.sleep(_POLL_SECONDS)


def _runs(pid: int, started: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < _CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
