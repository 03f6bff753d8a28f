"""The machinery of `make demo-lifecycle`; the play itself takes a quarter of an hour."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.lifecycle import __main__ as play, servers, workspace
from benchmarks.lifecycle.prefect_api import PrefectApi
from benchmarks.lifecycle.traffic import Service
from benchmarks.lifecycle.transcript import Transcript
from fer_pipeline.config.params import load_params
from fer_pipeline.errors import FerError, ModelError, ToolUnavailableError

METRICS = b"""# HELP fer_shadow_faces_total Faces for the challenger.
fer_shadow_faces_total{outcome="agreed"} 5.0
fer_faces_total{emotion="happy",source="picture"} 3.0
fer_faces_total{emotion="sad",source="picture"} 1.0
fer_faces_total{emotion="sad",source="camera"} 9.0
fer_logged_predictions_total{outcome="written"} 3.0
fer_logged_predictions_total{outcome="failed"} 1.0
"""


class _Answers(BaseHTTPRequestHandler):
    """Answers /predict in turn with the models a and b, and every seventh time with a fault."""

    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        number = type(self).asked
        body = b'{"model": {"fingerprint": "%s"}, "faces": []}' % (b"a" if number % 2 else b"b")
        self._send(500 if number % 7 == 0 else 200, body)

    def do_GET(self) -> None:
        self._send(200, METRICS)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Service(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


def test_each_request_is_counted(service: Service) -> None:
    """By the model that answered, or as a failure."""
    with service.under_load([b"1", b"2"]) as counted:
        while counted.requests < 14:
            time.sleep(0.02)
    assert set(counted.by_model) == {"a", "b"}
    assert counted.failures.total() == counted.requests // 7
    assert next(iter(counted.failures)).startswith("ModelError: /predict was answered 500")


def test_counters_are_read_from_the_metrics(service: Service) -> None:
    assert service.counter("fer_shadow_faces", outcome="agreed") == 5
    assert service.counter("fer_shadow_faces", outcome="dropped") == 0
    assert service.counter("fer_faces", source="picture") == 4
    assert service.counter("fer_faces") == 13


def test_answers_missing_from_the_log_are_a_failure(service: Service) -> None:
    """The demo ends with an error where the prediction log lacks answered faces."""
    with pytest.raises(ModelError, match="1 of 4 answers are not in the log"):
        service.wait_for_log(1)


def test_an_event_is_waited_for_since_the_server_stores_it_late(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([0, 0, 1])
    api = PrefectApi("http://127.0.0.1:9/api")
    monkeypatch.setattr(api, "events", lambda _name: next(counts))
    monkeypatch.setattr("benchmarks.lifecycle.prefect_api.time.sleep", lambda _seconds: None)
    assert api.wait_for_events("fer.drift.detected", 30) == 1
    monkeypatch.setattr(api, "events", lambda _name: 0)
    assert api.wait_for_events("fer.drift.detected", 0) == 0


def test_processes_of_a_demo_are_found_by_their_mark() -> None:
    """Whoever started them."""
    script = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    environment = {**os.environ, workspace.MARK: "of this test"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert len(servers.leftovers("of this test")) == 1
    assert servers.leftovers("of another one") == []
    assert "time.sleep(60)" in servers.end_all("of this test")[0]
    end = time.monotonic() + 10
    while servers.leftovers("of this test"):
        assert time.monotonic() < end


def test_a_workspace_is_a_copy_with_its_own_homes(tmp_path: Path) -> None:
    """It is a copy of the code with small settings."""
    made = workspace.make(tmp_path, "mark", 1, 2)
    recipe = load_params(made.root / "params.yaml").recipe(workspace.WEAK)
    assert recipe.epochs < load_params(made.root / "params.yaml").recipe(workspace.GOOD).epochs
    for name in ("BENTOML_HOME", "PREFECT_HOME", "TMPDIR", "PYTHONPATH", "PWD"):
        assert Path(made.environment[name]).is_relative_to(tmp_path), name
    assert made.run("python", "-c", "import fer_pipeline; print(fer_pipeline.__file__)").out.startswith(str(made.root))
    with pytest.raises(FerError, match="ended with exit code 3"):
        made.run("python", "-c", "raise SystemExit(3)")


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    """The error has the last lines of the log."""
    made = workspace.Workspace(tmp_path, dict(os.environ))
    made.root.mkdir()
    with (
        pytest.raises(ToolUnavailableError, match="no such file or port"),
        servers.server(made, "broken", ["python", "-c", "raise SystemExit('no such file or port')"]) as server,
    ):
        server.wait_until_ready("http://127.0.0.1:9/health")


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_a_failed_claim_ends_with_exit_code_1(holds: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transcript is written all the same."""

    def play_one(script: Transcript, home: Path, mark: str) -> None:
        script.act("An act")
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, workspace.MARK: mark}).poll()
        servers.end_all(mark)
        script.claim("water runs uphill", holds, "seen")

    monkeypatch.setattr(play, "_play", play_one)
    monkeypatch.setattr(sys, "argv", ["play", "--out", str(tmp_path / "out.txt")])
    assert play.main() == code
    text = (tmp_path / "out.txt").read_text()
    assert ("holds: water runs uphill: seen" if holds else "FAILS: water runs uphill: seen") in text
