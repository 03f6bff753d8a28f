"""Confine a process: resource limits, its user, and the life of its parent.

`seccomp` filters its system calls, `landlock` its files.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

NOBODY = 65534
"""User and group of processes that look at what strangers sent, where the service runs as root; on Linux it is `nobody`."""

_PR_SET_PDEATHSIG = 1


def die_with(parent: int, by: int = signal.SIGKILL) -> None:
    """Signal this process when the thread of `parent` that started it ends.

    Exits where it has ended already. Must be said again after a change of the user.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(1)


def limit(most: Mapping[int, int]) -> None:
    """Lower resource limits, named by `resource.RLIMIT_*`, for good.

    One that is lower already stays.
    """
    for kind, value in most.items():
        _, hard = resource.getrlimit(kind)
        lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lower, lower))


def enclose(folder: Path) -> Path:
    """Make a folder the root of the file system of this process; its path then.

    Nothing outside can be opened or imported afterwards. The folder and its files become `NOBODY`'s. For root alone: another
    user, and a root without these rights, keeps its files and gets the path back.
    """
    if os.getuid() != 0:
        return folder
    try:
        os.chroot(folder)
        os.chdir("/")
        for path in (Path("/"), *Path("/").rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    except PermissionError:  # in some containers
        return folder
    return Path("/")


def leave_root() -> bool:
    """Become the user `NOBODY` for good where this is root; whether it is not then."""
    if os.getuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):  # a root without the right, or a container without the user
            raise
        return False
    return True
