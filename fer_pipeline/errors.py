"""The exceptions that callers branch on.

Each message names the value received, what was expected and what to do next. The `fer` command prints it without a stack
trace and ends with `exit_code`.
"""

from __future__ import annotations


class FerError(Exception):
    """A failure that the person at the keyboard can mend; the message says how."""

    exit_code = 1


class ParamsError(FerError):
    """params.yaml holds an unknown key or a value out of range."""

    exit_code = 2


class SourceError(FerError):
    """The raw input is missing, unreadable, or in none of the known layouts."""

    exit_code = 3


class DataQualityError(FerError):
    """An expectation of severity error failed on the processed table."""

    exit_code = 4


class ImageError(FerError):
    """Bytes that are no picture, or a picture outside the limits."""

    exit_code = 5


class VideoError(ImageError):
    """A file that is no video, or a video that is damaged or outside the limits."""


class ModelError(FerError):
    """A model artifact is missing, damaged, or made for other labels or another image spec."""

    exit_code = 6


class WorkspaceBusyError(FerError):
    """Another run holds this workspace, or was faster."""

    exit_code = 7


class DivergedError(FerError):
    """The loss of a training is no longer a finite number."""


class ToolUnavailableError(FerError):
    """A tool the pipeline needs (Java, a port, disk, network) is not there; `fer doctor` tells more."""

    exit_code = 8


class FeedbackError(FerError):
    """A correction that is not there, or not where it is looked for."""

    exit_code = 10


class MonitoringError(FerError):
    """There is no log of predictions, it is too short, or it cannot be compared with the reference."""

    exit_code = 9
