"""Restrict a process to some files: Linux' Landlock, from kernel 5.19 on.

Neither the process nor what breaks into it can take it back. It holds for the calling thread and all that it starts, so it must
come before other threads (Documentation/userspace-api/landlock.rst).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all machines
_ABI_ONLY, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = (1 << n for n in (1, 2, 3, 4, 5, 7, 8))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_OF_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE  # what may be said of a path that is no folder
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE

# The highest kind of access that each version knows; all of them are refused unless a rule allows them.
_HIGHEST = {2: 13, 3: 14, 4: 14}
_HIGHEST_NOW = 15
_ALL_TCP, _ALL_SCOPES = 0b11, 0b11  # to bind and connect, from version 4 on; abstract sockets and signals, from 6 on


def version() -> int:
    """Return the version of Landlock in this kernel; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_library().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ABI_ONLY)))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Refuse all files but these, and what lies beneath them; whether it works.

    Paths that do not exist are left out. Nothing can be executed. In writable folders plain files and folders can be made,
    replaced and removed, no links and nothing special. The kernels that can also refuse signals to processes outside.
    """
    found = version()
    if found < 2:  # the first one lets no file move from one folder to another
        return False
    accesses = (2 << _HIGHEST.get(found, _HIGHEST_NOW)) - 1
    attributes = struct.pack("=QQQ", accesses, _ALL_TCP, _ALL_SCOPES)[: 8 if found < 4 else 16 if found < 6 else 24]
    library = _library()
    rules = library.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        for paths, allowed in ((readable, _READ), (writable, _WRITE)):
            for path in paths:
                if not _added(library, rules, path, allowed & accesses):
                    return False
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # without which the next call fails
        done: int = library.syscall(_RESTRICT_SELF, rules, 0)
        return done == 0
    finally:
        os.close(rules)


def _added(library: ctypes.CDLL, rules: int, path: Path, allowed: int) -> bool:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):  # what it cannot see it need not be allowed
            return True
        raise
    try:
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            allowed &= _OF_FILES
        done: int = library.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", allowed, file), 0)
    finally:
        os.close(file)
    return done == 0


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
