from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flows import progress


@pytest.fixture(params=[False, True], ids=["file", "terminal"])
def screen(request: pytest.FixtureRequest) -> Iterator[tuple[io.StringIO, bool]]:
    shown = io.StringIO()
    progress.show(Console(file=shown, force_terminal=request.param, color_system=None, width=200, highlight=False))
    yield shown, request.param
    progress.show(None)


def test_a_step_is_one_line_and_live_on_a_terminal(
    screen: tuple[io.StringIO, bool], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown, terminal = screen
    with progress.step(tmp_path, "fetch"):
        os.write(1, b"12 rows\n")
    with progress.step(tmp_path, "train") as now:
        now.outcome = "unchanged"
    text = re.sub(r"\d+ s", "N s", shown.getvalue())
    assert capfd.readouterr().out == ("12 rows\n" if terminal else "")
    if terminal:
        assert text == "fetch ...\nfetch       done, N s\ntrain ...\ntrain       unchanged, N s\n"
    else:
        assert text == "fetch       done, N s  12 rows\ntrain       unchanged, N s\n"


def test_a_step_that_fails_names_its_output(screen: tuple[io.StringIO, bool], tmp_path: Path) -> None:
    shown, terminal = screen

    def fail() -> None:
        with progress.step(tmp_path, "train"):
            os.write(2, b"of native code\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "train       failed" in shown.getvalue()
    if not terminal:
        log = tmp_path / "data" / "logs" / "train.log"
        assert f"its output: {log}" in shown.getvalue().replace("\n", "")
        assert log.read_text() == "of native code\n"
