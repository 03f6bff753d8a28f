"""System calls by name: groups for the sandboxes, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Case(NamedTuple):
    """A call in one case: by the lower 32 bits of an argument, under a mask.

    The case holds where they equal `value`; without `equal`, where they do not.
    """

    name: str
    argument: int
    value: int
    mask: int = 0xFFFFFFFF
    equal: bool = True


_THREAD_FLAGS = 0x3D0F00
"""What glibc gives to `clone` for a thread: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID."""
_CLONE_THREAD, _F_SETOWN, _F_SETOWN_EX = 0x10000, 8, 15

LIMIT_ITSELF = Case("prlimit64", 0, 0)
"""Limits of resources where the process means itself, by which glibc reads and sets its own."""

COMPUTING = (
    "read", "write", "close", "recvfrom", "sendto", "poll", "ppoll", "mmap", "munmap", "mremap", "mprotect", "madvise", "brk",
    "futex", "sched_yield", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "getpid",
    "gettid", "getrandom", "clock_gettime", "getrusage", "getrlimit", "setrlimit", LIMIT_ITSELF, "exit", "exit_group", "rseq",
    "set_robust_list", Case("clone", 0, _THREAD_FLAGS),
)  # fmt: skip
"""What a process needs that computes, and talks over what is open already: no files, no network, no other processes.

Threads of its own come with it: the decoder of HEIC starts one. Besides it needs `signal_itself`.
"""

NETWORK = (
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "io_uring_setup", "io_uring_enter",
    "io_uring_register",
)  # fmt: skip
"""What a network needs; also local sockets."""

OTHER_PROCESSES = (
    "execve", "execveat", "fork", "vfork", Case("clone", 0, 0, _CLONE_THREAD), "kill", "tkill", "rt_sigqueueinfo",
    "rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "ptrace", "process_vm_readv", "process_vm_writev",
    "process_madvise", "process_mrelease", "kcmp", LIMIT_ITSELF._replace(equal=False), "setpriority", "ioprio_set",
    "sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity", "migrate_pages", "move_pages",
    Case("fcntl", 1, _F_SETOWN), Case("fcntl", 1, _F_SETOWN_EX), "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv",
    "msgctl", "semget", "semop", "semtimedop", "semctl", "mq_open",
)  # fmt: skip
"""Starting other processes, signalling, watching, limiting, and sharing memory with them. Threads may be started."""

SYSTEM = (
    "symlink", "symlinkat", "link", "linkat", "mknod", "mknodat", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
    "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "bpf",
    "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "init_module", "finit_module", "delete_module",
    "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "iopl", "ioperm", "syslog", "acct", "quotactl",
    "fanotify_init", "personality",
)  # fmt: skip
"""Links and special files, mounts, namespaces, and parts of the kernel that a program which computes has no use for."""

# Name -> its number on x86-64 and on 64-bit ARM (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
NUMBERS: Mapping[str, tuple[int, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "poll": (7, None), "ppoll": (271, 73), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216), "madvise": (28, 233),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "sched_yield": (24, 124), "getpid": (39, 172), "gettid": (186, 178), "tgkill": (234, 131),
    "exit": (60, 93), "exit_group": (231, 94), "futex": (202, 98), "clock_gettime": (228, 113), "getrandom": (318, 278),
    "getrusage": (98, 165), "getrlimit": (97, 163), "setrlimit": (160, 164), "prlimit64": (302, 261), "fcntl": (72, 25),
    "rseq": (334, 293), "set_robust_list": (273, 99),
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "sendto": (44, 206), "recvfrom": (45, 207),
    "bind": (49, 200), "listen": (50, 201), "socketpair": (53, 199), "accept4": (288, 242), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "execve": (59, 221), "execveat": (322, 281),
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "clone3": (435, 435), "kill": (62, 129), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122), "migrate_pages": (256, 238), "move_pages": (279, 239), "shmget": (29, 194),
    "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191),
    "mq_open": (240, 180), "symlink": (88, None), "symlinkat": (266, 36), "link": (86, None), "linkat": (265, 37),
    "mknod": (133, None), "mknodat": (259, 33), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "iopl": (172, None), "ioperm": (173, None),
    "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60), "fanotify_init": (300, 262), "personality": (135, 92),
}  # fmt: skip


def signal_itself(process: int) -> Case:
    """Return the case in which a process signals a thread of its own, as `abort` does."""
    return Case("tgkill", 0, process)
