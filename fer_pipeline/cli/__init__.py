"""The `fer` command: parse arguments, call one function of a lower room, print."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from fer_pipeline import environment
from fer_pipeline.errors import FerError, ToolUnavailableError
from fer_pipeline.workspace.names import printable
from fer_pipeline.workspace.parent_process import OWNER_VARIABLE, end_with
from fer_pipeline.workspace.stage_log import STAGES, StageLog, divert_stderr

_OF_SERVING = ("bentoml", "fastapi", "itsdangerous", "pydantic_settings", "starlette")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OTHER_PATH = "change its owner or mode, or those of the folders above it, or give another path"
_REMEDIES = {
    errno.EACCES: _OTHER_PATH,
    errno.EPERM: _OTHER_PATH,
    errno.EROFS: "its file system can only be read: give another path",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ELOOP: "it is a link that leads back to itself: remove it",
    errno.ENOTDIR: "one of the folders above it is a file: give another path",
}

_log: StageLog | None = None  # of the stage that this process is


def main() -> None:
    """Run the `fer` command line.

    A process that a flow started ends when the process of the flow ends.
    """
    environment.apply()
    _show_any_name()
    if OWNER_VARIABLE in os.environ:
        end_with(os.environ[OWNER_VARIABLE])
        if not sys.stdout.isatty():  # the flow reads what is written there
            os.dup2(1, 2)
    if len(sys.argv) > 1 and sys.argv[1] in STAGES:
        global _log
        _log = divert_stderr(sys.argv[1])
    from fer_pipeline.cli.app import app  # typer is imported after the environment is set

    run_command(app)


def run_command(command: Callable[[], object]) -> None:
    """Call a command line; turn errors and Ctrl-C into a message and an exit code.

    The stack trace of an error that is neither a `FerError` nor a file or disk that cannot be used goes to a file, which the
    message names. What only an error needs is imported where one occurs.
    """
    try:
        command()
    except FerError as error:
        _fail(error)
    except OSError as error:
        _fail(_unusable(error) or _unexpected(error))
    except ModuleNotFoundError as error:
        _fail(_not_installed(error))
    except KeyboardInterrupt:
        from fer_pipeline.cli.options import errors, labelled

        errors.print(labelled("stopped.", "bold red", "Finished stages are kept; the same command goes on from there."))
        sys.exit(130)
    except Exception as error:
        _fail(_unexpected(error))


def _show_any_name() -> None:
    """Escape names in the output that its encoding cannot express."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _not_installed(error: ModuleNotFoundError) -> FerError:
    package = (error.name or "").partition(".")[0]
    if package in ("", "fer_pipeline", "flows"):
        return _unexpected(error)
    extra = "serve" if package in _OF_SERVING else "pipeline"
    return ToolUnavailableError(f"this needs {package}, which is not installed: `pip install 'fer-pipeline[{extra}]'`")


def _unusable(error: OSError) -> FerError | None:
    """Return the message about a file or disk that cannot be used, else None."""
    # The writers of HDF5 and of folders (`shutil.Error`) have the number in their message only.
    if error.errno in _FULL or os.strerror(errno.ENOSPC) in str(error):
        return ToolUnavailableError(
            f"the disk is full, or a file larger than allowed ({error}): free space, then give the same command again; what "
            "was there before is kept, and so is the checkpoint of a training"
        )
    if error.errno in _REMEDIES and error.filename is not None:
        return ToolUnavailableError(f"{os.fsdecode(error.filename)} cannot be used ({error.strerror}): {_REMEDIES[error.errno]}")
    return None


def _unexpected(error: Exception) -> FerError:
    import tempfile
    import traceback

    what = f"{type(error).__name__}: {error}".rstrip(": ")
    trace = "".join(traceback.format_exception(error))
    try:
        descriptor, log = tempfile.mkstemp(prefix="fer-error-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(trace)
        failure = FerError(f"unexpected: {what}; its stack trace is in {log}: name that file when you report it")
    except OSError as unwritten:
        failure = FerError(f"unexpected: {what} (its stack trace cannot be stored: {unwritten.strerror})")
    failure.add_note(trace)
    return failure


def _fail(error: FerError) -> NoReturn:
    from fer_pipeline.cli.options import errors, labelled

    if _log is not None and (written := _log.tail()):
        errors.print(f"{written}\n(the last lines that its libraries wrote; all are in {_log.path})", style="dim")
    errors.print(labelled("error:", "bold red", str(error)))
    error_file = os.environ.get("FER_ERROR_FILE")
    if error_file:  # a stage that a flow started: the flow shows the message and logs the notes, too
        message, *notes = (printable(text, keep="\n") for text in (str(error), *getattr(error, "__notes__", ())))
        with suppress(OSError):  # that disk may be full as well
            content = {"exit_code": error.exit_code, "message": message, "notes": notes}
            Path(error_file).write_text(json.dumps(content), encoding="utf-8")
    sys.exit(error.exit_code)
