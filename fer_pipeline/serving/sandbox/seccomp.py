"""Filter the system calls of a process: Linux' seccomp with classic BPF.

A filter cannot be taken back by the process, nor by what breaks into it; a refused call fails with EPERM
(Documentation/userspace-api/seccomp_filter.rst). Works on x86-64 and 64-bit ARM.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterable

from fer_pipeline.serving.sandbox.system_calls import NUMBERS, Case

_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}  # column, AUDIT_ARCH_*, number of seccomp itself

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_ALLOW, _REFUSE, _MISSING = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # instructions of classic BPF
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they stand in what the filter sees
_X32 = 0x40000000  # from here on x86-64 has its calls a second time

_Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse(calls: Iterable[str | Case]) -> bool:
    """Refuse these system calls to all threads from now on; whether it works."""
    return _filter(calls, _REFUSE, _ALLOW)


def allow_only(calls: Iterable[str | Case]) -> bool:
    """Refuse all other system calls to all threads from now on; whether it works."""
    return _filter(calls, _ALLOW, _REFUSE)


def _filter(calls: Iterable[str | Case], listed: int, others: int) -> bool:
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    column, architecture, seccomp = _MACHINES[platform.machine()]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE),
        *_rule("clone3", column, _MISSING),  # its flags lie in memory, where no filter sees them; glibc goes on with clone
        *(instruction for call in calls for instruction in _rule(call, column, listed)),
        (_RETURN, 0, 0, others),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    library = ctypes.CDLL(None)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    filled = _Program(len(program), code)
    done: int = library.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(filled))
    return done == 0


def _rule(call: str | Case, column: int, verdict: int) -> list[_Instruction]:
    """Return what ends with the verdict, or goes on with the call's number loaded."""
    number = NUMBERS[call if isinstance(call, str) else call.name][column]
    if number is None:
        return []
    if isinstance(call, str):
        return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, verdict)]
    return [
        (_EQUAL, 0, 5, number),
        (_LOAD, 0, 0, _ARGUMENTS + 8 * call.argument),  # the lower half: both machines are little-endian
        (_AND, 0, 0, call.mask),
        (_EQUAL, 0, 1, call.value) if call.equal else (_EQUAL, 1, 0, call.value),
        (_RETURN, 0, 0, verdict),
        (_LOAD, 0, 0, _NUMBER),
    ]
