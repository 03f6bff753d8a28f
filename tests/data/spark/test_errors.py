"""Preprocess on a standalone cluster of two workers: the files of local mode, also where workers are killed in mid-run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks.cluster import Cluster, cluster
from benchmarks.preprocessing import raw_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]

PREPROCESS = """
import sys
from pathlib import Path
from fer_pipeline.data.spark import errors as spark_errors
from fer_pipeline.data.preprocess.preprocess import preprocess
from fer_pipeline.errors import FerError
from fer_pipeline.config.params import PreprocessParams

spark_errors.GIVE_UP_SECONDS = float(sys.argv[4])
master, raw, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
params = PreprocessParams(spark_master=master, drop_duplicates=True, oversample_to=0.9)
try:
    print(preprocess(raw, out / "processed", out / "quarantine", params).summary())
except FerError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def start(master: str, raw: Path, out: Path, give_up: float = 300) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREPROCESS, master, str(raw), str(out), str(give_up)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_table(tmp_path_factory.mktemp("raw") / "raw", 9000)


@pytest.fixture(scope="module")
def local(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What local mode writes."""
    out = tmp_path_factory.mktemp("local")
    process = start("local[2]", raw, out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return files(out)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as started:
        yield started


def test_a_cluster_writes_the_files_of_local_mode(
    raw: Path, tmp_path: Path, local: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster writes the files of local mode with the settings of the compose file."""
    settings = yaml.safe_load((ROOT / "compose.yaml").read_text())["configs"]["spark-defaults"]["content"]
    settings = re.sub(r"\$\{SPARK_SECRET:[^}]+\}", "only-for-this-test", settings).replace("1536m", "900m")
    (tmp_path / "spark-defaults.conf").write_text(settings)
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    with cluster(tmp_path) as running:
        process = start(running.url, raw, tmp_path / "out")
        wait(lambda: len(running.executors()) == 2, process)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert files(tmp_path / "out") == local


@pytest.mark.parametrize("moment", ["scratch-*", "faces"])
def test_a_worker_killed_in_mid_run_changes_nothing(
    moment: str, running: Cluster, raw: Path, tmp_path: Path, local: dict[str, bytes]
) -> None:
    process = start(running.url, raw, tmp_path / "out")
    wait(lambda: len(running.executors()) == 2 and any((tmp_path / "out").glob(f".processed.new-*/{moment}")), process)
    os.killpg(running.workers[0].pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert files(tmp_path / "out") == local


def test_a_run_without_workers_ends_with_one_sentence(running: Cluster, raw: Path, tmp_path: Path) -> None:
    """A run whose workers are all gone ends with one sentence and leaves nothing."""
    process = start(running.url, raw, tmp_path / "out", give_up=40)
    wait(lambda: any((tmp_path / "out").glob(".processed.new-*/scratch-*")), process)
    for worker in running.workers:
        os.killpg(worker.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    waited = rf"ToolUnavailableError: {running.url} had no worker for this run for (\d+) s: start workers"
    told = re.match(waited, errors.splitlines()[-1])
    assert told
    assert int(told[1]) >= 6  # the limit of this test; a busy machine looks at its clock later
    assert list((tmp_path / "out").iterdir()) == []
