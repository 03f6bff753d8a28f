"""Start and stop the servers of the demo, each in a process group."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.lifecycle.workspace import MARK, Workspace
from fer_pipeline.errors import ToolUnavailableError

READY_SECONDS = 300.0
END_SECONDS = 15.0


@dataclass(frozen=True)
class Server:
    """A program that was started, and the file of its output."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, url: str) -> None:
        """Wait until the URL answers with 200.

        Raises `ToolUnavailableError`, with the last lines of its log, if it never does.
        """
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                    return
            time.sleep(0.5)
        last = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        raise ToolUnavailableError(f"{self.log.stem} did not answer {url} within {READY_SECONDS:.0f} s:\n{last}")


@contextmanager
def server(workspace: Workspace, name: str, command: list[str], variables: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a program while the block runs; its output goes to NAME.log."""
    log = workspace.home / f"{name}.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name(command[0])), *command[1:]],
            cwd=workspace.root,
            env={**workspace.environment, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(process, log)
    finally:
        _stop(process)


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


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


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
