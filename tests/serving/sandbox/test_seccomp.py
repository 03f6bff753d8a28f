"""Each refused system call is tried in a process behind the filter; as root, which the kernel refuses little."""

from __future__ import annotations

import sys

import pytest

from fer_pipeline.serving.sandbox.system_calls import COMPUTING, NETWORK, NUMBERS, OTHER_PROCESSES, SYSTEM
from tests.serving.sandboxed import told

pytestmark = [pytest.mark.attack, pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")]

PLAIN = [call for call in (*NETWORK, *OTHER_PROCESSES, *SYSTEM) if isinstance(call, str)]


def test_a_process_without_network_still_reads_files() -> None:
    """A process without network still reads files and has no network in any thread."""
    script = """
go, found = threading.Event(), []
earlier = threading.Thread(target=lambda: (go.wait(), found.append(outcome(socket.socket))))
earlier.start()
applied = seccomp.refuse(system_calls.NETWORK)
go.set()
earlier.join()
tell([applied, outcome(socket.socket), *found, outcome(lambda: open("/etc/passwd"))])
"""
    assert told(script) == [True, "EPERM", "EPERM", "done"]


def test_each_listed_call_is_refused() -> None:
    """With arguments of zero they would do nothing, or fail otherwise."""
    script = f"seccomp.refuse({PLAIN}); tell([call(name, 0, 0, 0, 0, 0, 0) for name in {PLAIN}])"
    assert dict(zip(PLAIN, told(script), strict=True)) == dict.fromkeys(PLAIN, "EPERM")


def test_a_computing_process_may_do_nothing_else() -> None:
    names = [name for name in NUMBERS if name not in COMPUTING and name not in ("clone3", "prlimit64")]
    script = f"""
applied = seccomp.allow_only(system_calls.COMPUTING)
refused = [name for name in {names} if call(name, 0, 0, 0, 0, 0, 0) == "EPERM"]
bytearray(50_000_000)
found = []
thread = threading.Thread(target=lambda: found.append(outcome(os.fork)))  # what a thread starts is no process either
thread.start()
thread.join()
tell([*found, applied, refused, call("clone3", 0, 0), sum(range(1000))])
"""
    assert told(script) == ["EPERM", True, names, "ENOSYS", 499500]


def test_arguments_decide_where_a_case_is_listed() -> None:
    """The process may signal and limit itself, and start threads; it owns no signals of files."""
    script = """
own, parent = os.getpid(), os.getppid()
seccomp.refuse((*system_calls.OTHER_PROCESSES, system_calls.signal_itself(own)._replace(equal=False)))
itself = [call("tgkill", own, own, 0), call("prlimit64", 0, 7, 0, 0), call("fcntl", 0, 1, 0)]
others = [call("tgkill", parent, parent, 0), call("prlimit64", parent, 7, 0, 0), call("fcntl", 0, 8, parent)]
forked = [call("clone", 17, 0, 0, 0, 0), outcome(os.fork)]
thread = threading.Thread(target=list)
thread.start()
thread.join()
tell([itself, others, forked])
"""
    assert told(script) == [["done"] * 3, ["EPERM"] * 3, ["EPERM"] * 2]


def test_without_a_filter_these_calls_work() -> None:
    """So the other tests see the filter, and not what the kernel refuses anyway."""
    script = """
own, parent = os.getpid(), os.getppid()
tell([call("tgkill", parent, parent, 0), call("prlimit64", parent, 7, 0, 0), call("kill", parent, 0), call("unshare", 0),
      call("clone", 17, 0, 0, 0, 0), outcome(socket.socket)])
"""
    assert told(script) == ["done"] * 6
