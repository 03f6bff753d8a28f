"""Keep the access log to one line a request, without the keys of results.

BentoML writes the decoded path: a caller could forge lines of the log by a line break, or send escape sequences to the terminal
that shows it. The id of a video opens its results, and a receipt withdraws a correction: neither belongs into a log.
"""

from __future__ import annotations

import logging
import re

from fer_pipeline.workspace.names import printable

_KEY = re.compile(r"([0-9a-f]{6})[0-9a-f]{26}")  # of a video or a correction
_LONGEST = 500  # characters of one value


class _OneLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_safe(value) if isinstance(value, str) else value for value in record.args)
        return True


def protect_access_log() -> None:
    """Escape what BentoML's access log is given; shorten keys to 6 digits.

    Call it once BentoML's logging is set up.
    """
    logger = logging.getLogger("bentoml.access")
    if not any(isinstance(one, _OneLine) for one in logger.filters):
        logger.addFilter(_OneLine())


def _safe(text: str) -> str:
    return _KEY.sub(r"\1...", printable(text[:_LONGEST]))
