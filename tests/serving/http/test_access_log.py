from __future__ import annotations

import io
import logging

import pytest
from bentoml._internal.server.http.access import AccessLogMiddleware
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fer_pipeline.serving.http.access_log import protect_access_log

pytestmark = pytest.mark.attack

KEY = "0123456789abcdef0123456789abcdef"


def logged(path: str) -> str:
    """What BentoML's access log says of a GET request."""
    protect_access_log()
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("bentoml.access")
    level, off = logger.level, logger.disabled
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.disabled = False
    try:
        TestClient(AccessLogMiddleware(FastAPI())).get(path)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.disabled = off
    return written.getvalue()


def test_a_path_forges_no_line_and_no_escape_sequence() -> None:
    written = logged("/x%0A2026-01-01%20[INFO]%20forged%0D%1B[2J%E2%80%A8%E2%80%AE")
    assert written.count("\n") == 1
    assert r"path=/x\n2026-01-01 [INFO] forged\r\x1b[2J\u2028\u202e" in written
    assert written[:-1].isprintable()


def test_keys_of_results_stand_shortened_in_the_log() -> None:
    for path in (f"/video/{KEY}/files/faces.csv", f"/feedback/{KEY}", f"/video/%30{KEY[1:]}"):
        written = logged(path)
        assert KEY not in written
        assert "012345..." in written


def test_a_long_path_is_cut() -> None:
    assert len(logged("/" + "x" * 50_000)) < 2000
