"""Packages an exported model as a bento, and starts the bento once before it counts as packaged.

Reads and writes the repository's data/bundle and BentoML's store (`BENTOML_HOME`); BentoML itself runs in processes of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array, encode_png, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import CARD_FILE, INFO_FILE, MODEL_FILE, TRAINING_IMAGES_FILE, ModelInfo
from fer_pipeline.workspace import layout
from fer_pipeline.workspace.files import replaced_folder
from fer_pipeline.workspace.locks import exclusive

START_SECONDS = 90.0
"""How long a packaged service may take to become ready; it takes about 5 s on a quiet machine."""

SERVED_CODE: Final = (
    "fer_pipeline/*.py",
    "fer_pipeline/workspace/*.py",
    "fer_pipeline/inference/**/*.py",
    "fer_pipeline/monitoring/*.py",
    "fer_pipeline/feedback/*.py",
    "fer_pipeline/serving/**/*.py",
    "fer_pipeline/serving/web/**/*",
)
"""Patterns of the code in a bundle: the `include` of bentofile.yaml without the model."""

_LOG_LINES = 30
_PLACE_WAIT_SECONDS = 10.0
_BUILD_WAIT_SECONDS = 300.0


def build(model_folder: Path, version: str, root: Path, names: Mapping[str, str] | None = None, tried: str | None = None) -> str:
    """Tag, such as "fer:v3-0a1b2c3d-4e5f60", of the bento made of an exported model, the code in `root` and its bentofile.yaml.

    The tag ends in a digest of code and detector: a bento of the same tag is the same bento, and is kept as it is. It is asked
    for one picture before it counts, unless its tag is `tried`, the one that the caller noted when a build had ended well: what
    a killed build left was not tried. `names` (name, version, alias of the registry) join the lineage that the answers tell.

    Raises `ModelError` where the model does not load, the build fails, or the bento does not answer as the model does, and
    leaves no such bento in the store; `WorkspaceBusyError` where another process builds for minutes.
    """
    EmotionClassifier.load(model_folder)
    with tempfile.TemporaryDirectory(prefix="fer-bento-") as scratch:
        context = Path(scratch)
        bundle = context / layout.BUNDLE
        bundle.mkdir(parents=True)
        _fill(bundle, model_folder, root, names)
        _copy_code(root, context)
        name = f"{version}-{_code_digest(context)}"
        tag = f"fer:{name}"
        if tag == tried and is_packaged(tag):  # before the lock: a roll-back waits for no build
            return tag
        # A roll-back does not wait for a training, and both may build; no bento is to be deleted while another process tries it.
        with exclusive(store_folder(), f"packaging {tag}", _BUILD_WAIT_SECONDS):
            if not is_packaged(tag):
                _bentoml("build", "--bentofile", "bentofile.yaml", "--version", name, cwd=context)
            try:
                smoke(tag, bundle)
            except BaseException:
                with suppress(ModelError):  # why it failed says more; what is left in the store is tried again
                    _bentoml("delete", tag, "--yes")
                raise
    return tag


@contextmanager
def placing(model_folder: Path, root: Path, names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Writes an exported model aside, and makes it root/data/bundle when the block ends well, else discards it.

    From there `fer predict`, `bentoml serve` and `bentoml build` take it. `names` as for `build`.
    """
    ModelInfo.read(model_folder)
    with replaced_folder(root / layout.BUNDLE) as bundle:
        _fill(bundle, model_folder, root, names)
        yield


def place_challenger(model_folder: Path, root: Path, names: Mapping[str, str] | None = None) -> None:
    """Makes an exported model root/data/challenger, from where a service in shadow mode takes it. `names` as for `build`."""
    ModelInfo.read(model_folder)
    target = root / layout.CHALLENGER
    with exclusive(target, "placing a challenger", _PLACE_WAIT_SECONDS), replaced_folder(target) as folder:
        _fill(folder, model_folder, root, names)


def remove_challenger(root: Path) -> None:
    """Removes root/data/challenger. Raises `ModelError` where it is not there."""
    target = root / layout.CHALLENGER
    with exclusive(target, "removing the challenger", _PLACE_WAIT_SECONDS):
        if not target.is_dir():
            raise ModelError(f"there is no challenger in {target} to remove; `fer shadow start` puts one there")
        shutil.rmtree(target)


def store_folder() -> Path:
    """Where BentoML keeps the bentos of this user."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "bentos"


def is_packaged(tag: str) -> bool:
    """Whether BentoML's store holds a bento of this tag."""
    return tag in [bento["tag"] for bento in json.loads(_bentoml("list", "--output", "json"))]


def smoke(tag: str, model_folder: Path) -> None:
    """Starts the bento on a free loopback port, asks for one picture and compares with the model's own answer; stops it always.

    Raises `ModelError`, with the last lines of the server's log, where the answer does not come or is another one.
    """
    face = _test_face()
    classifier = EmotionClassifier.load(model_folder)
    expected = classifier.probabilities(to_model_input(face, classifier.info.image_spec)[np.newaxis])[0]
    with _served(tag) as server:
        try:
            server.wait_until_ready()
            answer = _post_picture(f"{server.address}/predict?framing=face", encode_png(face))
            _compare(answer, dict(zip(EMOTIONS, map(float, expected), strict=True)), classifier.info)
        except (OSError, ValueError, KeyError, TypeError, IndexError, ModelError) as error:
            raise ModelError(f"bento {tag} does not serve its model: {error}\n{_last_lines(server.output())}") from error


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            # BentoML starts a worker that failed again and again, so its own end is not to be waited for.
            if self.process.poll() is not None or "Application startup failed" in self.output():
                raise ModelError("it failed while starting")
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/readyz", timeout=5):
                return
            time.sleep(0.2)  # not listening yet, or 503 while the model loads
        raise ModelError(f"not ready after {START_SECONDS:.0f} s")


def _fill(bundle: Path, model_folder: Path, root: Path, names: Mapping[str, str] | None) -> None:
    for name in (MODEL_FILE, INFO_FILE):
        shutil.copy2(model_folder / name, bundle / name)
    if names:
        info = ModelInfo.read(model_folder)
        replace(info, lineage={**info.lineage, **names}).write(bundle)
    for name in (CARD_FILE, TRAINING_IMAGES_FILE):  # the latter for the drift check
        if (model_folder / name).exists():
            shutil.copy2(model_folder / name, bundle / name)
    detector = root / layout.DETECTORS / YUNET_FILE
    if detector.exists():
        shutil.copy2(detector, bundle / YUNET_FILE)


def _copy_code(root: Path, context: Path) -> None:
    # A copy, so that the build neither walks through .venv and data nor depends on what lies in data/bundle.
    shutil.copy2(root / "bentofile.yaml", context)
    shutil.copytree(root / "fer_pipeline", context / "fer_pipeline", ignore=shutil.ignore_patterns("__pycache__"))


def _code_digest(context: Path) -> str:
    patterns = ("bentofile.yaml", *SERVED_CODE, f"{layout.BUNDLE}/{YUNET_FILE}")
    served = {path for pattern in patterns for path in context.glob(pattern) if path.is_file()}
    digest = hashlib.sha256()
    for file in sorted(served):
        digest.update(file.relative_to(context).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:6]


def _bentoml(*arguments: str, cwd: Path | None = None) -> str:
    command = [sys.executable, "-m", "bentoml", *arguments]
    environment = {**_environment(), "COLUMNS": "10000"}  # or a line ends at 80, in the middle of a path
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ModelError(f"`bentoml {' '.join(arguments)}` failed:\n{_last_lines(done.stdout + done.stderr)}")
    return done.stdout


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FER_") and name != "PYTHONPATH"}
    return {**kept, "BENTOML_DO_NOT_TRACK": "True"}


@contextmanager
def _served(tag: str) -> Iterator[_Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bento = _bentoml("get", tag, "--output", "path").strip()
    with tempfile.TemporaryDirectory(prefix="fer-smoke-") as folder:
        log = Path(folder) / "server.log"
        command = [sys.executable, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port)]
        # By path and in a home of its own: a server that starts clears the figures on /metrics of all others of its home.
        environment = {**_environment(), "BENTOML_HOME": folder}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            yield _Server(process, f"http://127.0.0.1:{port}", log)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The server has workers of its own: ask the first process, then make an end of what is left of its group.
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _post_picture(url: str, picture: bytes) -> Any:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="picture"; filename="face.png"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ModelError(f"POST {url} was answered {error.code}: {error.read(500).decode(errors='replace')}") from error


def _compare(answer: Any, expected: dict[str, float], info: ModelInfo) -> None:
    if answer["model"]["sha256"] != info.sha256:
        raise ModelError(f"it answers with model {answer['model']['sha256']}, expected {info.sha256}")
    (face,) = answer["faces"]
    found: dict[str, float] = face["probabilities"]
    fits = list(found) == list(expected) and all(abs(found[name] - expected[name]) < 1e-6 for name in expected)
    if not fits or not math.isclose(sum(found.values()), 1, abs_tol=1e-6):
        raise ModelError(f"it answers {found}, the model says {expected}")


def _test_face() -> UInt8Array:
    rows, columns = np.mgrid[0:FACE_SIZE, 0:FACE_SIZE]
    return np.asarray(40 + 2 * rows + 2 * columns + 9 * ((rows // 6 + columns // 6) % 2), dtype=np.uint8)


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_LOG_LINES:])
