from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.serving.sandbox import landlock
from tests.serving.sandboxed import told

pytestmark = pytest.mark.attack

needs_landlock = pytest.mark.skipif(landlock.version() < 2, reason="this kernel has no Landlock of version 2 or later")

SCRIPT = """
own, foreign = Path(sys.argv[1]), Path(sys.argv[2])
applied = landlock.restrict([own / "read", own / "one", own / "none"], [own / "write"])
allowed = [
    lambda: (own / "read" / "deep" / "file").read_text(),
    lambda: os.listdir(own / "read"),
    lambda: (own / "one").read_text(),
    lambda: (own / "write" / "new").write_text("more"),
    lambda: (own / "write" / "deeper").mkdir(),
    lambda: os.replace(own / "write" / "new", own / "write" / "deeper" / "moved"),
    lambda: (own / "write" / "deeper" / "moved").unlink(),
    lambda: threading.Thread(target=list).start(),
]
refused = [
    lambda: (foreign / "secret").read_text(),
    lambda: os.listdir(foreign),
    lambda: (foreign / "new").write_text("more"),
    lambda: (foreign / "secret").unlink(),
    lambda: os.truncate(foreign / "secret", 0) if landlock.version() > 2 else (foreign / "new").mkdir(),
    lambda: (own / "read" / "deep" / "file").write_text("more"),
    lambda: (own / "one").write_text("more"),
    lambda: (own / "write" / "link").symlink_to(foreign / "secret"),
    lambda: os.mkfifo(own / "write" / "pipe"),
    lambda: os.execv("/bin/true", ["true"]),
    lambda: open(f"/proc/{os.getppid()}/environ"),
]
tell([applied, [outcome(work) for work in allowed], [outcome(work) for work in refused]])
"""


@needs_landlock
def test_only_the_given_files_are_within_reach(tmp_path: Path) -> None:
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    for folder in (own / "read" / "deep", own / "write", foreign):
        folder.mkdir(parents=True)
    for file in (own / "read" / "deep" / "file", own / "one", foreign / "secret"):
        file.write_text("content")
    applied, allowed, refused = told(SCRIPT, str(own), str(foreign))
    assert (applied, allowed) == (True, ["done"] * 8)
    assert set(refused) == {"EACCES"}
    assert (foreign / "secret").read_text() == "content"


@pytest.mark.skipif(landlock.version() < 6, reason="older versions know no signals")
def test_no_signal_reaches_a_process_outside() -> None:
    script = """
ready, told_ready = os.pipe()
child = os.fork()
if child == 0:
    landlock.restrict([Path("/usr")], [])
    os.write(told_ready, outcome(lambda: os.kill(os.getppid(), 0)).encode())
    os._exit(0)
os.waitpid(child, 0)
tell([os.read(ready, 100).decode(), outcome(lambda: os.kill(os.getppid(), 0))])
"""
    assert told(script) == ["EPERM", "done"]


def test_a_kernel_without_landlock_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 1)
    assert not landlock.restrict([tmp_path], [])
    assert list(tmp_path.iterdir()) == []
