"""What no code expects ends with one line, and its stack trace is stored."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from fer_pipeline import cli


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), ZeroDivisionError("by zero"), KeyError("x")])
def test_an_unexpected_error_names_the_file_of_its_trace(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message has the kind of the error and the path of a log that has its stack trace, which a flow is given, too."""

    def fails() -> None:
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("FER_ERROR_FILE", str(tmp_path / "error"))
    with pytest.raises(SystemExit, match="1"):
        cli.run_command(fails)
    said = capsys.readouterr().err
    assert type(error).__name__ in said
    assert "Traceback" not in said
    found = re.search(r"trace is in (\S+):", said)
    assert found is not None
    left = json.loads((tmp_path / "error").read_text())
    assert (left["exit_code"], found[1] in left["message"]) == (1, True)
    assert left["notes"] == [log := Path(found[1]).read_text()]
    assert "Traceback" in log
    assert "in fails" in log


@pytest.mark.parametrize("made", ["file/below", "n" * 300, "loop/x", "[1]"])
def test_a_path_that_cannot_be_used_gets_its_sentence(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in place of a folder, a name that is too long, a link to itself, a folder that must not be searched."""

    def opens() -> None:
        if made == "[1]":  # root may search any
            raise PermissionError(13, "Permission denied", f"{tmp_path}/{made}")
        (tmp_path / made).open("w")

    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SystemExit, match="8"):
        cli.run_command(opens)
    said = capsys.readouterr().err
    assert f"error: {tmp_path}/{made} cannot be used (" in said
    assert "unexpected" not in said


def test_a_trace_that_cannot_be_stored_still_leaves_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(SystemExit, match="1"):
        cli.run_command(fails)
    assert "unexpected: ZeroDivisionError: by zero (its stack trace cannot be stored" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_name_that_the_output_cannot_show_is_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are not UTF-8 can be written to an output of any encoding."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding, errors="strict"))
    cli._show_any_name()
    sys.stdout.write("caf\udce9 \u4e00.png")
    sys.stdout.flush()
    assert b"caf\\udce9" in shown.getvalue()


@pytest.mark.parametrize(("module", "extra"), [("mlflow.tracking", "pipeline"), ("bentoml", "serve")])
def test_a_package_of_an_extra_is_named_with_its_command(module: str, extra: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise ModuleNotFoundError(name=module)

    with pytest.raises(SystemExit, match="8"):
        cli.run_command(fails)
    package = module.partition(".")[0]
    assert capsys.readouterr().err == (
        f"error: this needs {package}, which is not installed: `pip install 'fer-pipeline[{extra}]'`\n"
    )
