from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_pipeline.serving.sandbox import confinement
from tests.serving.sandboxed import HEAD, ROOT, told

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root has root to leave")


def test_limits_only_go_down() -> None:
    script = """
confinement.limit({resource.RLIMIT_NOFILE: 50})
confinement.limit({resource.RLIMIT_NOFILE: 90})
tell(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert told(script) == [50, 50]


def test_a_process_whose_owner_has_ended_ends_at_once() -> None:
    script = HEAD + "confinement.die_with(os.getppid() + 1); print('still here')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@needs_root
def test_root_is_left_for_good() -> None:
    script = """
left = confinement.leave_root()
tell([left, os.getresuid(), os.getresgid(), os.getgroups(), outcome(lambda: os.setuid(0)),
      outcome(lambda: os.kill(os.getppid(), 0))])
"""
    nobody = [65534] * 3
    assert told(script) == [True, nobody, nobody, [], "EPERM", "EPERM"]


@needs_root
def test_a_folder_becomes_all_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text("content")
    script = """
folder = confinement.enclose(Path(sys.argv[1]))
confinement.leave_root()
tell([str(folder), os.listdir("/"), (folder / "deep" / "file").read_text(), outcome(lambda: open("/etc/passwd")),
      outcome(lambda: (folder / "new").write_text("more")), sorted(os.listdir("/../.."))])
"""
    assert told(script, str(tmp_path)) == ["/", ["deep"], "content", "ENOENT", "done", ["deep", "new"]]


def test_another_user_than_root_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fer_pipeline.serving.sandbox.confinement.os.getuid", lambda: 1000)
    monkeypatch.setattr("fer_pipeline.serving.sandbox.confinement.os.setresuid", lambda *_: pytest.fail("changed its user"))
    assert confinement.enclose(tmp_path) == tmp_path
    assert confinement.leave_root()


@pytest.mark.parametrize("error", [PermissionError(1, "refused"), OSError(22, "no such user")])
def test_a_root_without_rights_says_so(error: OSError, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("fer_pipeline.serving.sandbox.confinement.os.getuid", lambda: 0)
    monkeypatch.setattr("fer_pipeline.serving.sandbox.confinement.os.chroot", lambda _: fail() if error.errno == 1 else None)
    for name in ("chdir", "chown", "setgroups", "setresgid"):
        monkeypatch.setattr(f"fer_pipeline.serving.sandbox.confinement.os.{name}", lambda *_, **__: None)
    monkeypatch.setattr("fer_pipeline.serving.sandbox.confinement.os.setresuid", fail)
    if error.errno == 1:
        assert confinement.enclose(tmp_path) == tmp_path
    assert not confinement.leave_root()
