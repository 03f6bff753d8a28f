"""`make audit` never takes silence for a clean answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.audit import NOT_AUDITED, audit

UV = str(Path(sys.executable).with_name("uv"))


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, int], str]:
    """A program in place of uv, which says something and ends with a status."""

    def make(said: str, status: int) -> str:
        program = tmp_path / "uv"
        program.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
        program.chmod(0o755)
        return str(program)

    return make


def test_without_its_service_nothing_is_said_to_be_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    assert audit(UV, "--service-url", "http://127.0.0.1:9/") == NOT_AUDITED
    told = capsys.readouterr().out
    assert "not audited" in told
    assert "nothing known against" not in told


@pytest.mark.parametrize(
    ("said", "status", "expected", "words"),
    [
        ("Found no known vulnerabilities and no adverse project statuses in 346 packages", 0, 0, "nothing known against"),
        ("Found 2 known vulnerabilities and no adverse project statuses in 346 packages", 1, 1, "see above"),
        ("", 0, NOT_AUDITED, "not audited"),
        ("Found no known vulnerabilities and no adverse project statuses in 0 packages", 0, NOT_AUDITED, "not audited"),
        ("Found no known vulnerabilities and no adverse project statuses in 346 packages", 2, NOT_AUDITED, "not audited"),
    ],
)
def test_the_end_of_an_audit_is_named(
    fake: Callable[[str, int], str], capsys: pytest.CaptureFixture[str], said: str, status: int, expected: int, words: str
) -> None:
    assert audit(fake(said, status)) == expected
    told = capsys.readouterr().out
    assert words in told
    assert ("not audited" in told) == (expected == NOT_AUDITED)
