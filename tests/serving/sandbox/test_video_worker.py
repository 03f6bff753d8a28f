"""What breaks into the process of a video: attacks from inside its own sandbox, where the analysis would begin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.serving.sandbox import landlock
from fer_pipeline.serving.settings import Limits
from tests.serving.sandboxed import HEAD, ROOT

pytestmark = [pytest.mark.attack, pytest.mark.skipif(sys.platform != "linux", reason="Linux confines")]

ATTACK = """
from fer_pipeline.serving.sandbox import video_worker

job, model, secret, parent = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
threads_before = len(os.listdir("/proc/self/task"))
modules_before = "numpy" in sys.modules
if sys.argv[5] == "plain":  # what holds for a user who is not root
    video_worker.enclose, video_worker.leave_root = (lambda folder: folder), (lambda: True)
refuse = seccomp.refuse

def attack(calls):
    filtered = refuse(calls)
    here = Path("/") if os.getcwd() == "/" else job
    own, thread = os.getpid(), threading.Thread(target=list)
    thread.start()
    files = {
        "a secret": lambda: open(secret),
        "passwords": lambda: open("/etc/passwd"),
        "environment": lambda: open(f"/proc/{parent}/environ"),
        "another folder": lambda: os.listdir(Path(secret).parent),
        "writing elsewhere": lambda: open(secret + ".new", "w"),
        "the model": lambda: open(model / "model.json", "a"),
        "a link": lambda: os.symlink(secret, here / "link"),
        "a pipe": lambda: os.mkfifo(here / "pipe"),
        "a program": lambda: os.execv("/bin/true", ["true"]),
        "a copy": os.fork,
        "network": socket.socket,
        "a signal": lambda: os.kill(parent, 0),
    }
    processes = {
        "tgkill": (parent, parent, 0), "tkill": (parent, 0), "kill": (-1, 0), "rt_sigqueueinfo": (parent, 0, 0),
        "pidfd_open": (parent, 0), "ptrace": (16, parent, 0, 0), "process_vm_readv": (parent, 0, 0, 0, 0, 0),
        "process_vm_writev": (parent, 0, 0, 0, 0, 0), "prlimit64": (parent, 7, 0, 0), "setpriority": (0, parent, 19),
        "sched_setaffinity": (parent, 0, 0), "fcntl": (1, 8, parent), "unshare": (0,), "bpf": (0, 0, 0),
    }
    needed = {
        "its video": lambda: (here / "video").read_bytes(),
        "its results": lambda: ((here / "results").mkdir(), (here / "results" / "faces.csv").write_text("x")),
        "its state": lambda: (here / "state.json").write_text("{}"),
    }
    tell({
        "filtered": filtered,
        "before": [threads_before, modules_before],
        "user": os.getuid(),
        "files": {name: outcome(work) for name, work in files.items()},
        "processes": {name: call(name, *arguments) for name, arguments in processes.items()},
        "needed": {name: outcome(work) for name, work in needed.items()},
        "itself": call("tgkill", own, own, 0),
    })

seccomp.refuse = attack
video_worker.main(job, model, parent, json.loads(sys.argv[6]), None)
"""


@pytest.fixture(scope="module", params=["root", "plain"])
def attacked(request: pytest.FixtureRequest, brightness_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("only root has root to leave")
    if request.param == "plain" and landlock.version() < 2:
        pytest.skip("this kernel has no Landlock of version 2 or later")
    tmp_path = tmp_path_factory.mktemp("attacked")
    job = tmp_path / "job"
    job.mkdir(mode=0o700)
    (job / "video").write_bytes(b"bytes")
    (job / "state.json").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    arguments = [str(job), str(brightness_model), str(tmp_path / "secret"), str(os.getpid()), request.param]
    done = subprocess.run(
        [sys.executable, "-c", HEAD + ATTACK, *arguments, Limits().model_dump_json()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "root": request.param == "root", "job": job}


def test_what_breaks_in_reaches_no_file_process_or_network(attacked: Any) -> None:
    assert attacked["filtered"]
    assert attacked["before"] == [1, False]  # Landlock came before any other thread
    refused = {**attacked["files"], **attacked["processes"]}
    assert set(attacked["files"].values()) <= {"EACCES", "EPERM", "ENOENT"}, refused
    assert set(attacked["processes"].values()) == {"EPERM"}, refused
    assert not {"link", "pipe"} & {path.name for path in attacked["job"].iterdir()}
    if attacked["root"]:
        assert attacked["user"] == 65534


def test_what_the_analysis_needs_is_left(attacked: Any) -> None:
    assert set(attacked["needed"].values()) == {"done"}
    assert attacked["itself"] == "done"
    assert (attacked["job"] / "results" / "faces.csv").read_text() == "x"
