"""compose.yaml: what the specification allows, no secret with a default, nothing open to other machines, and commands that exist.

No container engine runs here: these are the checks that need none. tests/e2e/containers starts all of it.
"""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyspark
import pytest
import yaml

from fer_pipeline import environment

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ONCE = {"buckets", "deployments"}
DOCKERFILE = (ROOT / next(iter(OURS.values()))["build"]["dockerfile"]).read_text(encoding="utf-8")
SPARK = Path(pyspark.__file__).parent


def environment_of(name: str) -> dict[str, Any]:
    """The variables of a service: those of its file and its own, which win."""
    service = SERVICES[name]
    lines = (ROOT / service["env_file"]).read_text().splitlines() if "env_file" in service else []
    return {**dict(line.split("=", 1) for line in lines if not line.startswith("#")), **service.get("environment", {})}


@pytest.fixture
def httpserver_port() -> Iterator[int]:
    """Port of a server that answers 200 at /good and 404 elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/good" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"name": request.param, **SERVICES[request.param]}


def test_the_file_follows_the_compose_specification() -> None:
    pytest.importorskip("check_jsonschema", reason="needs the development packages")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wanted_servers_are_there() -> None:
    wanted = {"postgres", "objects", "mlflow", "prefect", "worker", "spark-master", "spark-worker", "service"}
    assert wanted | ONCE == SERVICES.keys()
    assert SERVICES["spark-worker"]["deploy"]["replicas"] == 2


def test_a_server_runs_locked_down_and_with_a_health_check(service: dict[str, Any]) -> None:
    uid = service["user"].split(":")[0]
    assert uid not in ("0", "root")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if service["name"] in ONCE:
        assert service["restart"] == "no"
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


def test_no_server_asks_for_what_compose_refuses(service: dict[str, Any]) -> None:
    """Compose gives a read-only container no file that is made of variables: it has none, but those that it mounts."""
    assert "configs" not in service
    assert "secrets" not in service
    assert "configs" not in COMPOSE


@pytest.mark.parametrize("name", sorted(OURS.keys() - ONCE))
def test_health_checks_are_one_word_each(name: str) -> None:
    """Podman's interface for Compose splits a check at its spaces."""
    check = SERVICES[name]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "/app/deploy/check.py"]
    assert not any(" " in word for word in check)


def test_the_health_check_tells_an_answer_from_another(httpserver_port: int) -> None:
    command = [sys.executable, str(ROOT / "deploy" / "check.py")]
    address = f"http://127.0.0.1:{httpserver_port}"
    found = subprocess.run([*command, f"{address}/good"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    found = subprocess.run([*command, f"{address}/bad"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (1, f"{address}/bad was answered 404, expected 200\n")
    found = subprocess.run([*command, "http://127.0.0.1:9/good"], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("http://127.0.0.1:9/good does not answer: ")


def test_spark_gets_its_secret_in_a_file_of_the_owner_alone(tmp_path: Path) -> None:
    """deploy/start.sh writes it, with the settings of the cluster, and becomes the command."""
    script = (ROOT / "deploy" / "start.sh").read_text().replace("/app/deploy", str(ROOT / "deploy"))
    variables = {"PATH": "/usr/bin:/bin", "SPARK_CONF_DIR": str(tmp_path / "spark")}
    command = ["sh", "-c", script, "start.sh", "sh", "-c", "umask"]
    plain = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert not (tmp_path / "spark").exists()
    variables["SPARK_SECRET"] = "a secret"
    told = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert told.stdout == plain.stdout
    file = tmp_path / "spark" / "spark-defaults.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    lines = file.read_text().splitlines()
    assert {"spark.authenticate true", "spark.authenticate.secret a secret", "spark.network.crypto.enabled true"} <= set(lines)


def test_only_those_who_need_a_secret_get_it() -> None:
    holders = {
        name: {service for service in SERVICES if any(f"${{{name}:" in str(value) for value in environment_of(service).values())}
        for name in ("SPARK_SECRET", "S3_SECRET_KEY", "POSTGRES_PASSWORD", "PREFECT_AUTH", "FER_TOKEN")
    }
    assert holders == {
        "SPARK_SECRET": {"worker", "spark-master", "spark-worker"},
        "S3_SECRET_KEY": {"objects", "buckets", "mlflow", "worker", "spark-worker"},
        "POSTGRES_PASSWORD": {"postgres", "mlflow", "prefect"},
        "PREFECT_AUTH": {"prefect", "deployments", "worker"},
        "FER_TOKEN": {"service"},
    }


def test_ports_are_open_to_this_machine_alone(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service.get("network_mode") != "host"


def test_a_server_waits_for_what_it_needs_by_a_check_that_exists(service: dict[str, Any]) -> None:
    for name, needed in service.get("depends_on", {}).items():
        condition = "service_completed_successfully" if name in ONCE else "service_healthy"
        assert needed == {"condition": condition}


def test_images_have_a_version(service: dict[str, Any]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)?(@sha256:[0-9a-f]{64})?$", service["image"])
    if "build" in service:
        assert service["image"] == f"fer-pipeline:{version}"


def test_images_of_others_have_a_digest_or_are_named() -> None:
    """A tag may be moved to another image; the head of the file names those that still have a tag alone."""
    head = TEXT.split("\nname: fer-pipeline\n")[0]
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    tagged = [image for image in images if not re.search(r"@sha256:[0-9a-f]{64}$", image)]
    assert all(re.search(rf"{re.escape(image)}\b.*tag alone", head) for image in tagged)
    assert len(tagged) < len(images)


def test_secrets_have_no_default_and_are_documented() -> None:
    """Every secret is a variable without default that the head of the file names."""
    head, body = TEXT.split("\nname: fer-pipeline\n")
    used = set(re.findall(r"(?<!\$)\$\{(\w+):\?[^}]+\}", body))
    assert re.findall(r"(?<!\$)\$\{(\w+):-", body) == ["FER_MODEL_DIR"]  # no secret
    assert not re.findall(r"(?<!\$)\$(?:\w+|\{\w+\})", body)  # a variable that is not set would be empty
    assert used == {
        "FER_UID",
        "FER_GID",
        "POSTGRES_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "PREFECT_AUTH",
        "SPARK_SECRET",
        "FER_TOKEN",
    }
    assert all(re.search(rf"^# .*\b{name}\b", head, re.MULTILINE) for name in used)
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY|URI$|URL$")
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name) and not re.match(r"(http://[\w.:/-]+|s3://\w+)$", value):
                assert re.search(r"\$\{\w+:\?", value), name


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_the_defaults_of_the_command(name: str) -> None:
    """No telemetry, no pickles: the values of environment.py hold for servers that are started without `fer`, too."""
    assert environment.DEFAULTS.items() <= environment_of(name).items()


def test_prefect_is_protected_against_forged_requests() -> None:
    assert SERVICES["prefect"]["environment"]["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"


def test_the_bucket_script_can_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        for _ in range(2):
            runpy.run_path(str(ROOT / "deploy" / "make_buckets.py"))
        assert {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]} == {"mlflow", "dvc"}


def test_concurrency_leases_survive_a_server_restart() -> None:
    """A Prefect server that starts again knows which runs hold a slot."""
    server = SERVICES["prefect"]
    name = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    assert environment_of("prefect")[name] == environment.DEFAULTS[name]
    kept = dict(volume.split(":") for volume in server["volumes"] if ":" in volume)
    (volume,) = (volume for volume, path in kept.items() if path == server["environment"]["PREFECT_HOME"])
    assert volume in COMPOSE["volumes"]
    assert re.search(rf"mkdir -m 1777 .*{kept[volume]}\b", DOCKERFILE)  # a new volume has this mode: any owner may write


@pytest.mark.parametrize("name", OURS)
def test_the_program_of_each_command_is_in_the_image(name: str) -> None:
    program = OURS[name]["command"][0]
    places = f"{Path(sys.executable).parent}:{SPARK / 'bin'}:/usr/bin:/bin"
    assert shutil.which(program, path=places)
    for word in OURS[name]["command"]:
        if word.startswith("org.apache.spark."):
            (jar,) = (SPARK / "jars").glob("spark-core_*.jar")
            assert f"{word.replace('.', '/')}.class" in zipfile.ZipFile(jar).namelist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlflow", "prefect", "worker", "service"])
def test_the_tools_know_the_options_that_they_are_given(name: str) -> None:
    command = OURS[name]["command"]
    words = [word for word in command if word.startswith("--")]
    subcommand = command[: next(at for at, word in enumerate(command) if word.startswith("--"))]
    subcommand = [word for word in subcommand if ":" not in word]
    program = str(Path(sys.executable).with_name(subcommand[0]))
    told = subprocess.run([program, *subcommand[1:], "--help"], capture_output=True, text=True, check=True, timeout=120).stdout
    assert all(word in told for word in words)


def test_the_commands_in_the_head_of_the_file_exist() -> None:
    from fer_pipeline.cli.commands import ENTRIES

    assert set(re.findall(r"worker fer (\w+)", TEXT)) <= set(ENTRIES)
    deployed = {deployment["name"] for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert set(re.findall(r"deployment run [\w-]+/([\w-]+)", TEXT)) <= deployed
    for file in re.findall(r"--from-file (\S+)", TEXT):
        assert (ROOT / file).is_file()


def test_the_image_is_made_of_what_the_repository_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split())
    assert set(re.findall(r"--extra (\w+)", DOCKERFILE)) <= project["optional-dependencies"].keys()
    assert re.search(r"^FROM python:(\d+\.\d+)", DOCKERFILE, re.MULTILINE)[1] == (ROOT / ".python-version").read_text().strip()  # type: ignore[index]
    assert re.search(r"uv==([\d.]+)", DOCKERFILE)[1] in (ROOT / "Makefile").read_text()  # type: ignore[index]


def test_the_first_command_serves_a_model_that_a_fresh_clone_has() -> None:
    model = re.search(r"^#   FER_MODEL_DIR=/app/(\S+) docker compose up --build", TEXT, re.MULTILINE)
    assert model is not None
    assert (ROOT / model[1] / "model.onnx").is_file()
    assert f"COPY {model[1].split('/')[0]} " in DOCKERFILE


def test_the_service_can_write_the_named_folders_only() -> None:
    """The folders that the head of the file names for it."""
    head = TEXT.split("\nname: fer-pipeline\n")[0]
    named = dict(re.findall(r"\b(FER_(?:PREDICTION_LOG|FEEDBACK|SHADOW_LOG|SHADOW_MODEL))=(/app/\S+?)(?=[\s,])", head))
    binds = {mount["target"]: mount for mount in SERVICES["service"]["volumes"] if isinstance(mount, dict)}
    writable = {target for target, mount in binds.items() if not mount.get("read_only")}
    assert named.pop("FER_SHADOW_MODEL").startswith("/app/data/")
    assert writable == set(named.values())
    assert all(SERVICES["service"]["environment"][name] is None for name in named)  # off unless the operator sets it
    made = re.search(r"^#   mkdir -p ([\w ./-]+?)  ", head, re.MULTILINE)
    assert made is not None
    assert set(made[1].split()) == {
        mount["source"].removeprefix("./")
        for name in ("objects", "service")
        for mount in SERVICES[name]["volumes"]
        if isinstance(mount, dict)
    } - {"data"}
