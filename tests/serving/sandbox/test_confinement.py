from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAD = """
import os, resource, socket, sys, threading
from fer_pipeline.serving.sandbox import confinement

def outcome(work):
    try:
        work()
    except OSError as error:
        return error.errno
    return "done"
"""


def told(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", HEAD + script], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
def test_a_process_without_network_still_reads_files() -> None:
    """A process without network still reads files and has no network in any thread."""
    script = """
go, found = threading.Event(), []
earlier = threading.Thread(target=lambda: (go.wait(), found.append(outcome(socket.socket))))
earlier.start()
applied = confinement.refuse_calls(confinement.NETWORK)
go.set()
earlier.join()
print(applied, outcome(socket.socket), *found, outcome(lambda: open("/etc/passwd")))
"""
    assert told(script) == ["True", "1", "1", "done"]


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
def test_a_computing_process_reaches_nothing_else() -> None:
    """A process that may only compute reaches no file network or process."""
    script = """
parent = os.getppid()
applied = confinement.allow_only(confinement.COMPUTING)
tries = (lambda: open("/etc/passwd"), lambda: os.unlink("/none"), socket.socket, os.fork, lambda: os.kill(parent, 0),
         lambda: os.execv("/bin/true", ["true"]), lambda: os.chmod("/none", 0), lambda: os.listdir("/"))
results = [outcome(work) for work in tries]
bytearray(50_000_000)
thread = threading.Thread(target=lambda: results.append(outcome(os.fork)))  # what a thread starts is no process either
thread.start()
thread.join()
os.write(1, " ".join(map(str, [applied, *results, sum(range(1000))])).encode())
os._exit(0)
"""
    assert told(script) == ["True", *["1"] * 9, "499500"]


def test_limits_only_go_down() -> None:
    script = """
confinement.limit({resource.RLIMIT_NOFILE: 50})
confinement.limit({resource.RLIMIT_NOFILE: 90})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert told(script) == ["50", "50"]


def test_a_process_whose_owner_has_ended_ends_at_once() -> None:
    script = HEAD + "confinement.die_with(os.getppid() + 1); print('still here')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
