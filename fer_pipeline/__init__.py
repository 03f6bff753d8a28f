"""Facial emotion recognition on FER-2013, from raw pictures to a served model."""

import os

# onnxruntime 1.31 sends usage data to its maker, and keeps ids in HOME and TMPDIR, unless this is set before its first import. It
# is the one setting made at import: whoever loads a model through this package must not have to know of it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
