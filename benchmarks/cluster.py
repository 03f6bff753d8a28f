"""Start a Spark standalone cluster on this machine.

It needs the pip package alone; benchmarks and tests run against it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyspark

from fer_pipeline.data.spark.session import java_home


@dataclass(frozen=True)
class Cluster:
    """Running Spark cluster.

    `url` is for `--master`; `workers` are processes, each the leader of a process group with its executors.
    """

    url: str
    workers: tuple[subprocess.Popen[bytes], ...]

    def executors(self) -> list[psutil.Process]:
        """The processes that run tasks now."""
        found = [child for worker in self.workers if worker.poll() is None for child in psutil.Process(worker.pid).children(True)]
        return [process for process in found if "CoarseGrainedExecutorBackend" in " ".join(_command(process))]


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Run a master and workers of one core and 1 GB each, on loopback.

    What they write goes to `folder`. They are stopped at the end of the block.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ, "JAVA_HOME": str(java_home(folder / "java")), "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(folder / "work"), "SPARK_DAEMON_MEMORY": "512m", "PYSPARK_PYTHON": sys.executable,
    }  # fmt: skip
    url = f"spark://127.0.0.1:{port}"
    deploy = "org.apache.spark.deploy"
    commands = [[f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]]
    commands += [
        [f"{deploy}.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", url]
    ] * workers
    log = folder / "log"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with log.open("ab") as stream:
                program = [str(home / "bin" / "spark-class"), *command]
                processes.append(subprocess.Popen(program, env=environment, stdout=stream, stderr=stream, start_new_session=True))
        end = time.monotonic() + 120
        while log.read_text(errors="replace").count("Successfully registered with master") < workers:
            if time.monotonic() > end:
                raise TimeoutError(f"Spark's workers did not register in 120 s: {log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.5)
        yield Cluster(url, tuple(processes[1:]))
    finally:
        for process in reversed(processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []
