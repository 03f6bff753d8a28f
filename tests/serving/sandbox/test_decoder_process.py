"""What breaks into a decoder of pictures: attacks from inside its own sandbox."""

from __future__ import annotations

import sys

import pytest

from tests.serving.sandboxed import told

pytestmark = pytest.mark.attack

ATTACK = """
from fer_pipeline.serving.sandbox import decoder_process

parent, telling = os.getppid(), os.dup(1)
ready, told_ready = os.pipe()
decoder_process._confine(parent, told_ready, 1500)
own = os.getpid()
attacks = {
    "tgkill": (parent, parent, 0), "tkill": (parent, 0), "kill": (parent, 0), "rt_sigqueueinfo": (parent, 0, 0),
    "prlimit64": (parent, 7, 0, 0), "ptrace": (16, parent, 0, 0), "process_vm_readv": (parent, 0, 0, 0, 0, 0),
    "pidfd_open": (parent, 0), "execve": (0, 0, 0), "clone": (17, 0, 0, 0, 0), "socket": (1, 1, 0), "setpriority": (0, parent, 1),
    "fcntl": (1, 8, parent),
}
refused = {name: call(name, *arguments) for name, arguments in attacks.items()}
files = [outcome(lambda: open("/etc/passwd")), outcome(lambda: os.listdir("/")), outcome(lambda: os.unlink("/none"))]
itself = [call("tgkill", own, own, 0), call("prlimit64", 0, 7, 0, 0)]
os.write(telling, json.dumps([list(os.read(ready, 2)), refused, files, itself]).encode())
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
def test_what_breaks_in_signals_and_limits_no_other_process() -> None:
    confined, refused, files, itself = told(ATTACK)
    assert confined == [1, 1]
    assert set(refused.values()) == {"EPERM"}, refused
    assert files == ["EPERM"] * 3
    assert itself == ["done"] * 2
