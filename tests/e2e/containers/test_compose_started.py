"""compose.yaml started whole: trained, served, scored, stored; then killed, filled up, given wrong secrets, stopped.

In this order: a test builds on those before it. `make test-containers` runs it; it takes half an hour or more.
"""

from __future__ import annotations

import functools
import http.client
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fer_pipeline.imaging import UInt8Array, encode_png
from tests.e2e.containers.engine import OURS, PYTHON, Engine, running_engine, why_not
from tests.e2e.containers.stack import OWNER, Stack, ask, kill, pictures_sent, read, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.containers, pytest.mark.timeout(3600)]

SERVERS = ["service", "postgres", "objects", "mlflow", "prefect", "worker", "spark-master", "spark-worker"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with running_engine(tmp_path_factory.mktemp("containers")) as started:
        started.build_stand_ins()
        started.build_ours(OWNER)
        yield started


@pytest.fixture(scope="module")
def stack(engine: Engine) -> Iterator[Stack]:
    with running_stack(engine) as started:
        yield started


@pytest.fixture
def face(drawn_face: UInt8Array) -> bytes:
    return encode_png(drawn_face)


def wait_until_healthy(stack: Stack, name: str, seconds: float) -> float:
    start = time.monotonic()
    while not stack.healthy(name):
        assert time.monotonic() - start < seconds, f"{name} is not healthy after {seconds} s"
        time.sleep(1)
    return time.monotonic() - start


def test_all_servers_become_healthy(engine: Engine, stack: Stack) -> None:
    seconds = stack.up()
    print(f"image {engine.megabytes(OURS)} MB, healthy after {seconds:.0f} s")  # noqa: T201
    for name in [*SERVERS, "spark-worker-2"]:
        container = stack.container(name if name[-1].isdigit() else f"{name}-1")
        assert engine.inspect(container)["State"]["Health"]["Status"] == "healthy"
    for name in ("buckets", "deployments"):
        assert engine.inspect(stack.container(f"{name}-1"))["State"]["ExitCode"] == 0


def test_a_deployment_trains_what_the_service_serves(stack: Stack, face: bytes) -> None:
    stack.within_worker("prefect", "deployment", "run", "train-champion/train", "--param", "profile=smoke", "--watch")
    stack.variables["FER_MODEL_DIR"] = "/app/data/bundle"
    stack.up("service")
    assert read("http://127.0.0.1:3000/model")["name"].startswith("fer/1")
    assert ask(face)[0] == http.client.OK
    assert dict(stack.kept()["aliases"])["champion"] == "1"


def test_pictures_are_scored_on_the_cluster(stack: Stack, face: bytes) -> None:
    (stack.root / "data" / "photos" / "face.png").write_bytes(face)
    stack.own()
    command = ["fer", "score", "--spark-master", "spark://spark-master:7077", "--input", "data/photos", "--output", "data/scores"]
    assert "1 pictures, 1 faces" in stack.within_worker(*command)
    cluster = read("http://127.0.0.1:8081/json/")
    assert cluster["aliveworkers"] == 2
    assert [app["state"] for app in cluster["completedapps"]] == ["FINISHED"]


def test_data_versions_go_to_the_store(stack: Stack) -> None:
    stack.within_worker("dvc", "remote", "add", "--default", "objects", "s3://dvc")
    assert re.search(r"\d+ files pushed", stack.within_worker("dvc", "push"))
    assert stack.kept()["objects"] > 10


def test_a_wrong_secret_opens_nothing(stack: Stack, face: bytes) -> None:
    assert ask(face, token="wrong")[0] == http.client.UNAUTHORIZED
    wrong = {"PREFECT_API_AUTH_STRING": "fer:wrong"}
    assert "401 Unauthorized" in stack.within_worker("prefect", "deployment", "ls", environment=wrong, code=1)
    stack.within_worker("dvc", "status", "--cloud", environment={"AWS_SECRET_ACCESS_KEY": "wrong"}, code=255)
    other = "mkdir -p /tmp/other && sed 's/^spark.authenticate.secret .*/spark.authenticate.secret wrong/' \
        /tmp/spark/spark-defaults.conf > /tmp/other/spark-defaults.conf && SPARK_CONF_DIR=/tmp/other \
        fer score --spark-master spark://spark-master:7077 --input data/photos --output data/other"
    told = stack.within_worker("sh", "-c", f"({other}) 2>&1 || true")
    assert "is its spark.authenticate.secret that of spark-defaults.conf" in told
    assert not (stack.root / "data" / "other" / "faces").exists()


@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_container_comes_back(stack: Stack, face: bytes, name: str) -> None:
    """No picture stays without an answer, and the databases and the store hold what they held."""
    container, kept = stack.container(f"{name}-1"), stack.kept()
    pid = stack.engine.inspect(container)["State"]["Pid"]
    with pictures_sent(face) as counts:
        time.sleep(2)
        kill(pid)
        while (state := stack.engine.inspect(container)["State"])["Pid"] == pid or not state["Running"]:
            time.sleep(0.5)
        seconds = wait_until_healthy(stack, f"{name}-1", 240)
    print(f"{name}: healthy {seconds:.0f} s after kill -9, {counts}")  # noqa: T201
    assert name == "service" or counts["again"] == 0
    for needed in ("postgres", "mlflow", "prefect"):
        wait_until_healthy(stack, f"{needed}-1", 240)
    assert stack.kept() == kept


@contextmanager
def full_volume(folder: Path) -> Iterator[None]:
    """Mount a disk over a folder that has no room left beside what the folder holds."""
    aside = folder.with_name(f"{folder.name}-aside")
    shutil.copytree(folder, aside)
    options = f"size=64m,uid={OWNER},gid={OWNER},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "fer-test", str(folder)], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", str(folder)], check=True)
        subprocess.run(["dd", "if=/dev/zero", f"of={folder}/fill", "bs=64k"], check=False, stderr=subprocess.DEVNULL)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(aside)


def test_a_full_volume_leaves_the_answers(stack: Stack, face: bytes) -> None:
    """The log of predictions finds no room: the service answers, counts what was not logged, and says so."""
    folder = stack.root / "data" / "predictions"
    stack.compose("stop", "service")
    with full_volume(folder):
        stack.up("service")
        assert [ask(face)[0] for _ in range(3)] == [http.client.OK] * 3
        end = time.monotonic() + 120
        logs = functools.partial(stack.compose, "logs", "service")
        while "No space left on device" not in logs():
            assert time.monotonic() < end
            time.sleep(5)
        assert ask(face)[0] == http.client.OK
        stack.compose("stop", "service")
    stack.up("service")


def test_stop_and_start_lose_nothing(stack: Stack, face: bytes) -> None:
    kept = stack.kept()
    stack.compose("down", "--timeout", "30")
    seconds = stack.up()
    print(f"healthy {seconds:.0f} s after down and up")  # noqa: T201
    assert stack.kept() == kept
    assert ask(face)[0] == http.client.OK


def test_the_bundle_is_an_image_that_answers(engine: Engine, stack: Stack, face: bytes) -> None:
    program = Path(sys.executable).with_name("bentoml")
    (tag,) = re.findall(r"fer:v1-\S+", stack.bento(program, "list"))
    image = "localhost/fer-test-bundle:1"
    options = ["--opt", "network=host", "--opt", f"from={PYTHON}", "--opt", "pull=never"]
    stack.bento(program, "containerize", tag, "--backend", "podman", "--image-tag", image, *options)
    print(f"image of the bundle {engine.megabytes(image)} MB")  # noqa: T201
    locked = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    settings = ["--env=FER_TOKEN=of-the-bundle", "--env=BENTOML_HOME=/tmp/bentoml", "--env=HOME=/tmp"]
    engine.podman("run", "--detach", "--name=fer-test-bundle", "--publish=127.0.0.1:3001:3000", *locked, *settings, image)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                status = ask(face, "of-the-bundle", 3001)[0]
                break
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < end, engine.podman("logs", "fer-test-bundle")
                time.sleep(1)
        assert status == http.client.OK
    finally:
        engine.podman("rm", "--force", "fer-test-bundle")
