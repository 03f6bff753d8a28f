from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.server_process import free_port, free_ports, running_server

HTTP = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]


def test_a_server_answers_while_the_block_runs(tmp_path: Path, running_commands: Callable[[], list[str]]) -> None:
    port = free_port()
    (tmp_path / "ready").write_text("yes")
    with running_server([*HTTP, str(port)], tmp_path / "http.log", cwd=tmp_path) as server:
        server.wait_until_ready(f"http://127.0.0.1:{port}/ready", 60)
        assert httpx.get(f"http://127.0.0.1:{port}/ready").text == "yes"
        assert "GET /ready" in server.output()
    assert not [command for command in running_commands() if "http.server" in command]


def test_children_of_a_server_end_with_it(tmp_path: Path, running_commands: Callable[[], list[str]]) -> None:
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)  # child'])"
    with running_server([sys.executable, "-c", child], tmp_path / "log") as server:
        assert server.process.wait(60) == 0
    assert not [command for command in running_commands() if "# child" in command]


def test_a_server_that_ends_while_starting_is_an_error(tmp_path: Path) -> None:
    """A server that ends while starting is an error with its log."""
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        running_server(command, tmp_path / "service.log") as server,
        pytest.raises(ToolUnavailableError, match=r"(?s)service failed while starting.*no such model"),
    ):
        server.wait_until_ready("http://127.0.0.1:9/", 60)


def test_a_server_whose_log_holds_the_failure_text_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-uc", "import time; print('startup failed'); time.sleep(99)"]
    with running_server(command, tmp_path / "log") as server, pytest.raises(ToolUnavailableError, match="failed while starting"):
        server.wait_until_ready("http://127.0.0.1:9/", 60, "startup failed")


def test_a_server_that_is_not_ready_in_time_is_an_error(tmp_path: Path) -> None:
    port = free_port()
    with (
        running_server([*HTTP, str(port)], tmp_path / "http.log", cwd=tmp_path) as server,
        pytest.raises(ToolUnavailableError, match=r"did not answer .*/missing within 1 s"),
    ):
        server.wait_until_ready(f"http://127.0.0.1:{port}/missing", 1)


def test_the_environment_is_that_of_the_caller_or_the_one_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TEST", "inherited")
    command = [sys.executable, "-c", "import os; print(os.environ.get('FER_TEST'))"]
    for environment in (None, {"FER_TEST": "given"}, {}):
        with running_server(command, tmp_path / "log", environment=environment) as server:
            server.process.wait(60)
    assert (tmp_path / "log").read_text().split() == ["inherited", "given", "None"]


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(5))) == 5
