"""Serve a model and put it under load."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fer_pipeline.imaging import DEFAULT_DETECTOR
from fer_pipeline.workspace.server_process import free_port, running_server

ROOT = Path(__file__).resolve().parents[1]

_START_SECONDS = 120.0
_BOUNDARY = "fer-benchmark"


@dataclass(frozen=True)
class Server:
    """Running service: port, first process, seconds until it was ready."""

    port: int
    process: int
    seconds: float

    def memory(self) -> float:
        """Proportional set size of all its processes, in MB."""
        total = 0
        with suppress(psutil.Error):  # a process may just have ended
            first = psutil.Process(self.process)
            total = sum(process.memory_full_info().pss for process in [first, *first.children(recursive=True)])
        return total / 1e6


@dataclass(frozen=True)
class Answer:
    """One exchange: status, seconds, JSON body, header Retry-After.

    Seconds run from the first byte sent to the last received.
    """

    status: int
    seconds: float
    body: Any
    retry_after: str | None


@contextmanager
def served(model: Path, detector: str = DEFAULT_DETECTOR, **environment: str) -> Iterator[Server]:
    """Serve an exported model on a free loopback port.

    With the code of this repository. `detector` is a name, or the path of YuNet's file.

    Raises `ToolUnavailableError`, with the end of the server's log, where it does not become ready.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as scratch:
        folder = Path(scratch) / "model"
        shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.keras"))
        command = [sys.executable, "-m", "bentoml", "serve", "fer_pipeline.serving.service:Fer", "--port", str(port)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FER_")}
        settings = {
            "FER_MODEL_DIR": str(folder),
            "FER_DETECTOR": detector,
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(Path(scratch) / "bentoml"),
        }
        started = time.perf_counter()
        with running_server(
            [*command, "--host", "127.0.0.1"],
            Path(scratch) / "service.log",
            cwd=ROOT,
            environment={**kept, **settings, **environment},
        ) as server:
            server.wait_until_ready(f"http://127.0.0.1:{port}/readyz", _START_SECONDS)
            yield Server(port, server.process.pid, time.perf_counter() - started)


class Client:
    """One kept connection; not safe for several threads."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> Answer:
        """The answer to a GET request."""
        return self._ask("GET", path, None)

    def send(self, picture: bytes, path: str = "/predict") -> Answer:
        """The answer to a picture, sent as the form field `picture`."""
        return self._ask("POST", path, form(picture))

    def close(self) -> None:
        self._connection.close()

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer, answer.read()

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"} if body is not None else {}
        started = time.perf_counter()
        try:
            answer, content = self._exchange(method, path, body, headers)
        except (ConnectionError, http.client.HTTPException):  # a kept connection that was idle for 5 s is closed by the server
            self._connection.close()
            started = time.perf_counter()
            answer, content = self._exchange(method, path, body, headers)
        seconds = time.perf_counter() - started
        values = json.loads(content) if answer.headers.get_content_type() == "application/json" else None
        return Answer(answer.status, seconds, values, answer.headers.get("Retry-After"))


def form(picture: bytes) -> bytes:
    """The multipart body of a picture."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="picture"; filename="picture.jpg"\r\n\r\n'
    return head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()


def closed_loop(port: int, picture: bytes, clients: int, seconds: float) -> list[Answer]:
    """Return answers to clients that wait for each answer (closed loop)."""
    return _pressed(port, clients, _until(time.perf_counter() + seconds), picture)


def open_loop(port: int, picture: bytes, rate: float, seconds: float, clients: int) -> list[Answer]:
    """Return answers to `rate` pictures a second (open loop).

    Sent at regular moments, whether or not the earlier ones are answered.

    With fewer clients than are waiting for their answers at a time, the rate falls below what was asked for.
    """
    moments: queue.SimpleQueue[float] = queue.SimpleQueue()
    start = time.perf_counter() + 0.2
    for number in range(int(rate * seconds)):
        moments.put(start + number / rate)

    def due() -> bool:
        try:
            moment = moments.get_nowait()
        except queue.Empty:
            return False
        time.sleep(max(0.0, moment - time.perf_counter()))
        return True

    return _pressed(port, clients, due, picture)


def percentile(answers: list[Answer], percent: float) -> float:
    """Milliseconds that so many percent of the answers stay below."""
    return float(np.percentile([1000 * answer.seconds for answer in answers], percent))


def _until(end: float) -> Callable[[], bool]:
    return lambda: time.perf_counter() < end


def _pressed(port: int, clients: int, goes_on: Callable[[], bool], picture: bytes) -> list[Answer]:
    answers: list[Answer] = []

    def run() -> None:
        client = Client(port)
        while goes_on():
            answers.append(client.send(picture))
        client.close()

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
