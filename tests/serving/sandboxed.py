"""Scripts that confine themselves and say what they can still do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

HEAD = """
import ctypes, errno, json, os, resource, signal, socket, sys, threading
from pathlib import Path
from fer_pipeline.serving.sandbox import confinement, landlock, seccomp, system_calls

library = ctypes.CDLL(None, use_errno=True)
column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]

def call(name, *arguments):
    "The error of a system call by its name, or 'done'."
    number = system_calls.NUMBERS[name][column]
    if number is None:
        return "EPERM"  # this machine has no such call
    came = library.syscall(number, *[ctypes.c_long(value) for value in arguments])
    if came == 0 and name in ("fork", "vfork", "clone"):
        os._exit(0)
    return errno.errorcode[ctypes.get_errno()] if came == -1 else "done"

def outcome(work):
    "What a function of Python fails with, or 'done'."
    try:
        work()
    except OSError as error:
        return errno.errorcode.get(error.errno, "OSError")
    return "done"

def tell(values):
    os.write(1, json.dumps(values).encode())
    os._exit(0)
"""


def told(script: str, *arguments: str) -> Any:
    """Run `script` after `HEAD`, in the root of the repository; what it tells."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
