"""Start a server as a process group, wait until it is ready, stop all of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from fer_pipeline.errors import ToolUnavailableError

READY_SECONDS = 300.0
"""How long a server may take to become ready, where the caller names no other time."""

_LOG_LINES = 30
_POLL_SECONDS = 0.1
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class ServerProcess:
    """A running server: its first process, and the file of its output."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """Return everything the server has written so far."""
        return self.log.read_text(errors="replace")

    def log_tail(self) -> str:
        """Return the last 30 lines of the output."""
        return "\n".join(self.output().strip().splitlines()[-_LOG_LINES:])

    def wait_until_ready(self, url: str, seconds: float = READY_SECONDS, failure_text: str | None = None) -> None:
        """Wait until the URL is answered with a status of 200 to 299.

        Raises `ToolUnavailableError`, with the last lines of the output, where the first process ends, where the output holds
        `failure_text`, and after `seconds`.
        """
        end = time.monotonic() + seconds
        with httpx.Client(timeout=5, trust_env=False) as client:
            while time.monotonic() < end:
                if self.process.poll() is not None or (failure_text and failure_text in self.output()):
                    raise ToolUnavailableError(f"{self.log.stem} failed while starting\n{self.log_tail()}")
                with suppress(httpx.HTTPError):  # not listening yet
                    if client.get(url).is_success:
                        return
                time.sleep(_POLL_SECONDS)
        raise ToolUnavailableError(f"{self.log.stem} did not answer {url} within {seconds:.0f} s\n{self.log_tail()}")


@contextmanager
def running_server(
    command: Sequence[str], log: Path, *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Run a server while the block runs; its output is appended to `log`.

    `environment` is the whole environment of the process; None: that of this one. The server gets a process group of its own.
    At the end the first process is asked to stop, and what is left of the group after 20 seconds is killed.
    """
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield ServerProcess(process, log)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 on which nothing listens, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def free_port() -> int:
    """Return one port of 127.0.0.1 on which nothing listens."""
    return free_ports(1)[0]
