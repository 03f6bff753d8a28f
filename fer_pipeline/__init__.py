"""Facial emotion recognition on FER-2013, from raw pictures to a served model.

`from fer_pipeline import recognize, Recognizer` is the library; both are loaded when they are first named.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_pipeline.inference.recognizer import Recognizer, recognize

__all__ = ["Recognizer", "recognize"]

# onnxruntime 1.31 sends usage data to its maker, and keeps ids in HOME and TMPDIR, unless this is set before its first import. It
# is the one setting made at import: whoever loads a model through this package must not have to know of it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    if name in __all__:
        from fer_pipeline.inference import recognizer

        return getattr(recognizer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
