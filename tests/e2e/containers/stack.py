"""compose.yaml in a clone of the repository, all of it, and what a client sees of it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.containers.engine import COMPOSE, ROOT, STAND_INS, Engine

OWNER = 1000
SECRETS = {
    "POSTGRES_PASSWORD": "onlyforthistest1",
    "S3_ACCESS_KEY": "fer",
    "S3_SECRET_KEY": "only-for-this-test-2",
    "PREFECT_AUTH": "fer:only-for-this-test-3",
    "SPARK_SECRET": "only-for-this-test-4",
    "FER_TOKEN": "only-for-this-test-5",
}
SHIPPED = "/app/fer_pipeline/weights/fast"


class Stack:
    """The servers of compose.yaml with the stand-ins of the test."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.root = engine, engine.folder / "workspace"
        self.variables = {**SECRETS, "FER_UID": str(OWNER), "FER_GID": str(OWNER), "FER_MODEL_DIR": SHIPPED}
        self.variables |= {"COMPOSE_PROJECT_NAME": "fer-test", "FER_PREDICTION_LOG": "/app/data/predictions"}
        self._program = self._install()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.root)], check=True)
        for name in (".objects", "predictions", "feedback-inbox", "shadow", "photos"):
            (self.root / "data" / name).mkdir(parents=True)
        self.own()

    def _install(self) -> Path:
        folder = self.engine.folder / "compose"
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", COMPOSE], check=True, timeout=600)
        (program,) = folder.glob("lib/*/site-packages/compose/docker-compose")
        program.chmod(0o755)
        return program

    def own(self) -> None:
        """Make the owner of the workspace own all its files."""
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", str(self.root)], check=True)

    def compose(self, *words: str, code: int = 0, timeout: float = 1200) -> str:
        """Run Docker Compose; return what it printed."""
        command = [str(self._program), "--file", "compose.yaml", "--file", str(STAND_INS / "override.yaml"), *words]
        environment = {**self.engine.environment, **self.variables}
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=timeout
        )
        assert done.returncode == code, f"{words} ended with {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def up(self, *services: str) -> float:
        """Start servers; return the seconds until all are healthy."""
        start = time.monotonic()
        self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "900", *services)
        return time.monotonic() - start

    def within_worker(self, *command: str, environment: dict[str, str] | None = None, code: int = 0) -> str:
        """Run a command in the worker's container."""
        settings = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        return self.compose("exec", "--no-TTY", *settings, "worker", *command, code=code)

    def container(self, name: str) -> str:
        return f"fer-test-{name}"

    def healthy(self, name: str) -> bool:
        """Run the container's own check."""
        command = ["podman", "healthcheck", "run", self.container(name)]
        return subprocess.run(command, env=self.engine.environment, capture_output=True, check=False).returncode == 0

    def kept(self) -> dict[str, Any]:
        """What the databases and the store hold."""
        login = {"Authorization": "Basic " + base64.b64encode(SECRETS["PREFECT_AUTH"].encode()).decode()}
        aliases = read("http://127.0.0.1:5000/api/2.0/mlflow/registered-models/get?name=fer")["registered_model"]["aliases"]
        token = read("http://127.0.0.1:4200/api/csrf-token?client=test", login)["token"]
        login |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test"}
        asked = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        stored = [path for path in (self.root / "data" / ".objects").rglob("*") if path.is_file()]
        return {
            "aliases": sorted((alias["alias"], alias["version"]) for alias in aliases),
            "runs": read("http://127.0.0.1:4200/api/flow_runs/count", login, asked),
            "deployments": read("http://127.0.0.1:4200/api/deployments/count", login, {}),
            "objects": len(stored),
        }

    def bento(self, program: Path, *words: str) -> str:
        environment = {**self.engine.environment, "BENTOML_HOME": str(self.root / "data" / ".bentoml"), "DO_NOT_TRACK": "1"}
        done = subprocess.run([str(program), *words], env=environment, capture_output=True, text=True, check=False, timeout=3000)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout


def read(address: str, headers: dict[str, str] | None = None, body: Any = None) -> Any:
    """Return the JSON of an address."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def ask(picture: bytes, token: str = SECRETS["FER_TOKEN"], port: int = 3000) -> tuple[int, bytes]:
    """Send a picture to the service; return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    connection.request("POST", "/predict?framing=face", picture, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@contextmanager
def pictures_sent(picture: bytes) -> Iterator[dict[str, int]]:
    """Send pictures one after the other meanwhile, each until it is answered; count them and those sent again."""
    counts = {"answered": 0, "again": 0}
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.5):
            while True:
                try:
                    if ask(picture)[0] == http.client.OK:
                        break
                except (OSError, http.client.HTTPException):
                    pass
                counts["again"] += 1
                time.sleep(0.5)
            counts["answered"] += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join(timeout=120)
        assert not thread.is_alive(), f"a picture was never answered: {counts}"


@contextmanager
def running_stack(engine: Engine) -> Iterator[Stack]:
    """Yield the stack; containers, volumes and networks are removed at the end."""
    stack = Stack(engine)
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "20")
        shutil.rmtree(stack.root)


def kill(pid: int) -> None:
    """End a process of the host at once, as a lack of memory would."""
    os.kill(pid, 9)
