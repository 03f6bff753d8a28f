"""Confine a process: resource limits and a filter of system calls.

Neither can be taken back by the process, nor by what breaks into it. The filter is Linux' seccomp (Documentation/userspace-api/
seccomp_filter.rst), on x86-64 and 64-bit ARM; a refused call fails with EPERM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable, Mapping

NETWORK = ("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "io_uring_setup")
"""What a network needs; also of local sockets."""

COMPUTING = (
    "read", "write", "close", "recvfrom", "sendto", "poll", "ppoll", "mmap", "munmap", "mremap", "mprotect", "madvise", "brk",
    "futex", "sched_yield", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "getpid",
    "gettid", "tgkill", "getrandom", "clock_gettime", "getrusage", "getrlimit", "setrlimit", "prlimit64", "exit", "exit_group",
    "rseq", "set_robust_list",
)  # fmt: skip
"""What a process needs that computes, and talks over what is open already: no files, no network, no other processes.

Threads of its own come with it (`allow_only`): the decoder of HEIC starts one.
"""

# Name -> its number on x86-64 and on 64-bit ARM (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
_NUMBERS: Mapping[str, tuple[int, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "poll": (7, None), "ppoll": (271, 73), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216), "madvise": (28, 233),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "sched_yield": (24, 124), "getpid": (39, 172), "gettid": (186, 178), "tgkill": (234, 131),
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "sendto": (44, 206), "recvfrom": (45, 207),
    "bind": (49, 200), "listen": (50, 201), "socketpair": (53, 199), "accept4": (288, 242), "exit": (60, 93),
    "exit_group": (231, 94), "futex": (202, 98), "clock_gettime": (228, 113), "getrandom": (318, 278), "getrusage": (98, 165),
    "getrlimit": (97, 163), "setrlimit": (160, 164), "prlimit64": (302, 261), "io_uring_setup": (425, 425),
    "rseq": (334, 293), "set_robust_list": (273, 99),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}  # column, AUDIT_ARCH_*, number of seccomp itself
_CLONE, _CLONE3 = (56, 220), (435, 435)
_THREAD_FLAGS = 0x3D0F00
"""What glibc gives to `clone` for a thread: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # instructions of classic BPF
_X32 = 0x40000000  # from here on x86-64 has its calls a second time


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def die_with(parent: int, by: int = signal.SIGKILL) -> None:
    """Signal this process when the thread of `parent` that started it ends.

    Exits where it has ended already.
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


def refuse_calls(names: Iterable[str]) -> bool:
    """Refuse these system calls to all threads from now on; whether it works."""
    return _filter(names, _REFUSE, _ALLOW)


def allow_only(names: Iterable[str]) -> bool:
    """Refuse all other system calls to all threads from now on; whether it works.

    Threads can be started, other processes cannot.
    """
    return _filter(names, _ALLOW, _REFUSE, threads=True)


def _filter(names: Iterable[str], listed: int, others: int, *, threads: bool = False) -> bool:
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    column, architecture, seccomp = _MACHINES[platform.machine()]
    numbers = [number for name in names if (number := _NUMBERS[name][column]) is not None]
    only_threads = [
        (_EQUAL, 0, 1, _CLONE3[column]),  # its flags lie behind a pointer; without it glibc takes `clone`
        (_RETURN, 0, 0, _UNKNOWN),
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, 16),  # the lower half of the first argument
        (_EQUAL, 0, 1, _THREAD_FLAGS),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    program = [
        (_LOAD, 0, 0, 4),  # the architecture of the call
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, 0),  # the call's number
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE),
        *(only_threads if threads else ()),
        *((_EQUAL, len(numbers) - n, 0, number) for n, number in enumerate(numbers)),  # jumps to the last line
        (_RETURN, 0, 0, others),
        (_RETURN, 0, 0, listed),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    library = ctypes.CDLL(None)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    filled = _Program(len(program), code)
    done: int = library.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(filled))
    return done == 0
