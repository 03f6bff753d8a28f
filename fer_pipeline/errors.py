"""Exceptions for callers to handle.

Each message names the value received, what was expected and what to do next. The `fer` command prints the message without a
stack trace and exits with `exit_code`.
"""

from __future__ import annotations


class FerError(Exception):
    """A failure that the user can fix; the message says how."""

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
    """Bytes that are not an image, or an image outside the limits."""

    exit_code = 5


class VideoError(ImageError):
    """A file that is not a video, or a video that is damaged or outside the limits."""


class ModelError(FerError):
    """A model is missing, damaged, or made for other labels or another image spec."""

    exit_code = 6


class WorkspaceBusyError(FerError):
    """Another run has locked this workspace, or was faster."""

    exit_code = 7


class DivergedError(FerError):
    """The loss of a training is not finite."""


class ToolUnavailableError(FerError):
    """A required tool (Java, port, disk, network) is missing; see `fer doctor`."""

    exit_code = 8


class FeedbackError(FerError):
    """A correction is missing, or not in the state that was expected."""

    exit_code = 10


class MonitoringError(FerError):
    """The prediction log is missing, too short, or not comparable."""

    exit_code = 9
