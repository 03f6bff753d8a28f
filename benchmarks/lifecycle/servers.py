"""Start and stop the servers of the demo, each in a process group."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.lifecycle.workspace import MARK, Workspace
from fer_pipeline.workspace.server_process import ServerProcess, running_server

END_SECONDS = 15.0


@contextmanager
def server(
    workspace: Workspace, name: str, command: list[str], variables: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Run a program of the environment while the block runs; log to NAME.log."""
    program = str(Path(sys.executable).with_name(command[0]))
    environment = {**workspace.environment, **(variables or {})}
    with running_server(
        [program, *command[1:]], workspace.home / f"{name}.log", cwd=workspace.root, environment=environment
    ) as process:
        yield process


def leftovers(mark: str) -> list[psutil.Process]:
    """Return the processes that a demo has started, without this one.

    They carry its mark in their environment.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for_ends(mark: str) -> list[psutil.Process]:
    """The processes of a play that have not ended by themselves after some seconds."""
    end = time.monotonic() + END_SECONDS
    while (left := leftovers(mark)) and time.monotonic() < end:
        time.sleep(0.5)
    return left


def end_all(mark: str) -> list[str]:
    """Kill the processes of a demo that are left; return what they were.

    Waits until they are gone.
    """
    names, left = [], leftovers(mark)
    for process in left:
        with suppress(psutil.Error):
            names.append(" ".join(process.cmdline())[:120])
            process.kill()
    psutil.wait_procs(left, timeout=10)
    return names
