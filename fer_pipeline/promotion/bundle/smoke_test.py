"""Start a bento once and compare its answer to one picture with that of its model."""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array, encode_png, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.output_schema import DIGITS, SUM_TOLERANCE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion.bundle.store import bento_path, bentoml_environment
from fer_pipeline.workspace.server_process import free_port, running_server

START_SECONDS = 90.0
"""How long a bento may take to become ready; it takes about 5 s on a quiet machine."""

_FAILED = "Application startup failed"
"""In the log of a bento that cannot start. BentoML starts its worker again and again, so its process does not end."""


def smoke_test(tag: str, model_folder: Path) -> None:
    """Serve the bento, compare one answer with the model's own, and stop it.

    It listens on a free port of 127.0.0.1. Raises `ModelError`, with the last lines of the server's log, where the answer does
    not come or is another one.
    """
    face = _test_face()
    classifier = EmotionClassifier.load(model_folder)
    expected = classifier.probabilities(to_model_input(face, classifier.info.image_spec)[np.newaxis])[0]
    port, bento = free_port(), bento_path(tag)
    with tempfile.TemporaryDirectory(prefix="fer-smoke-") as folder:
        # By path and in a home of its own: a server that starts clears the figures on /metrics of all others of its home.
        environment = {**bentoml_environment(), "BENTOML_HOME": folder}
        command = [sys.executable, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port)]
        with running_server(command, Path(folder) / "server.log", cwd=Path(folder), environment=environment) as server:
            try:
                server.wait_until_ready(f"http://127.0.0.1:{port}/readyz", START_SECONDS, _FAILED)
                answer = _predict(f"http://127.0.0.1:{port}/predict", encode_png(face))
                _compare(answer, dict(zip(EMOTIONS, map(float, expected), strict=True)), classifier.info)
            except ToolUnavailableError as error:
                raise ModelError(f"bento {tag} does not serve its model: {error}") from error
            except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError, IndexError, ModelError) as error:
                raise ModelError(f"bento {tag} does not serve its model: {error}\n{server.log_tail()}") from error


def _predict(url: str, picture: bytes) -> Any:
    form = {"picture": ("face.png", picture, "image/png")}
    answer = httpx.post(url, params={"framing": "face"}, files=form, timeout=30, trust_env=False)
    if not answer.is_success:
        raise ModelError(f"POST {answer.url} was answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()


def _compare(answer: Any, expected: dict[str, float], info: ModelInfo) -> None:
    if answer["model"]["sha256"] != info.sha256:
        raise ModelError(f"it answers with model {answer['model']['sha256']}, expected {info.sha256}")
    (face,) = answer["faces"]
    found: dict[str, float] = face["probabilities"]
    apart = 0.5 * 10.0**-DIGITS + 1e-6  # answers are rounded
    fits = list(found) == list(expected) and all(abs(found[name] - expected[name]) < apart for name in expected)
    if not fits or not math.isclose(sum(found.values()), 1, abs_tol=SUM_TOLERANCE):
        raise ModelError(f"it answers {found}, expected {expected} of the model itself")


def _test_face() -> UInt8Array:
    rows, columns = np.mgrid[0:FACE_SIZE, 0:FACE_SIZE]
    return np.asarray(40 + 2 * rows + 2 * columns + 9 * ((rows // 6 + columns // 6) % 2), dtype=np.uint8)
