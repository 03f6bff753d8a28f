from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from dvc.repo import Repo

from fer_pipeline.errors import FerError, SourceError, WorkspaceBusyError
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import RUN_LOCK
from fer_pipeline.workspace.locks import exclusive

RAN, RESTORED, UNCHANGED = dvc.Outcome

STAGES = """
stages:
  first:
    cmd: cp data/source/a.csv first.txt
    deps: [data/source]
    outs:
      - first.txt
  second:
    cmd: sh second.sh
    deps: [first.txt, second.sh]
    outs: [second.txt]
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two stages, in the working directory."""
    folder = tmp_path / "repo"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / ".gitignore").write_text("/source\n")
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "second.sh").write_text("cp first.txt second.txt")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    Repo.init(str(folder)).close()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "a.csv"
    file.write_text("1\n")
    return file


def test_stages_and_outputs_come_from_dvc_yaml(root: Path) -> None:
    assert dvc.stage_names(root) == ("first", "second")
    assert dvc.output(root, "first") == root / "first.txt"
    assert dvc.output(root, "second") == root / "second.txt"


def test_a_stage_runs_once_until_its_data_changes(root: Path, source: Path) -> None:
    version = dvc.add_source(root, [source])
    assert [dvc.reproduce(root, stage) for stage in ("first", "second")] == [RAN, RAN]
    assert [dvc.reproduce(root, stage) for stage in ("first", "second")] == [UNCHANGED, UNCHANGED]
    source.write_text("2\n")
    assert dvc.add_source(root, [source]) != version
    assert [dvc.reproduce(root, stage) for stage in ("first", "second")] == [RAN, RAN]
    assert (root / "second.txt").read_text() == "2\n"


def test_every_version_can_be_restored_and_pushed(root: Path, source: Path, tmp_path: Path) -> None:
    """Every version can be brought back and pushed to a remote."""
    dvc.add_source(root, [source])
    first = (root / "data" / "source.dvc").read_text()
    source.write_text("2\n")
    dvc.add_source(root, [source])
    (root / "data" / "source.dvc").write_text(first)
    with Repo(str(root)) as repo:
        repo.checkout(targets=["data/source.dvc"], force=True)
        assert (root / "data" / "source" / "a.csv").read_text() == "1\n"
        with repo.config.edit("repo") as config:
            config["remote"] = {"local": {"url": str(tmp_path / "remote")}}
        repo.push(remote="local")
    assert any((tmp_path / "remote").rglob("*.dir"))


@pytest.mark.parametrize("cut", [None, 20])
def test_a_failing_stage_ends_with_its_message_and_code(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch, cut: int | None
) -> None:
    """Message, code and notes are those that it left; where a full disk cut them short, its command is named."""
    said = json.dumps({"message": "only one class", "exit_code": 4, "notes": ["where it was"]})
    monkeypatch.setenv("SAID", said[:cut])
    dvc.add_source(root, [source])
    dvc.reproduce(root, "first")
    (root / "second.sh").write_text('printf \'%s\' "$SAID" > "$FER_ERROR_FILE"; exit 4')
    with pytest.raises(FerError, match="stage second: " + ("only one class" if cut is None else ".*exited with 4")) as failure:
        dvc.reproduce(root, "second")
    assert cut or (failure.value.exit_code, failure.value.__notes__) == (4, ["where it was"])


def test_a_stage_that_dies_silently_is_reported_by_its_command(root: Path, source: Path) -> None:
    """A stage that dies without a word is reported with its command."""
    dvc.add_source(root, [source])
    dvc.reproduce(root, "first")
    (root / "second.sh").write_text("exit 9")
    with pytest.raises(FerError, match=r"stage second: .*exited with 9"):
        dvc.reproduce(root, "second")


def test_a_stage_that_was_killed_says_so(root: Path, source: Path) -> None:
    dvc.add_source(root, [source])
    dvc.reproduce(root, "first")
    (root / "dvc.yaml").write_text(STAGES.replace("sh second.sh", "kill -9 $$"))
    with pytest.raises(FerError, match="stage second: its process was killed by signal 9"):
        dvc.reproduce(root, "second")


def test_outputs_come_back_after_a_failure(root: Path, source: Path) -> None:
    """Those that the stage has written stay, such as the page that says what failed."""
    dvc.add_source(root, [source])
    (root / "dvc.yaml").write_text(STAGES.replace("outs: [second.txt]", "outs: [second.txt, page.txt]"))
    (root / "second.sh").write_text("cp first.txt second.txt; echo passed > page.txt")
    assert [dvc.reproduce(root, stage) for stage in ("first", "second")] == [RAN, RAN]
    (root / "second.sh").write_text("test ! -e second.txt && echo failed > page.txt; exit 1")
    with pytest.raises(FerError):
        dvc.reproduce(root, "second")
    assert (root / "second.txt").read_text() == "1\n"
    assert (root / "page.txt").read_text() == "failed\n"


def test_outputs_that_cannot_come_back_are_named(root: Path, source: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The failure of the stage stays the error; the cache lacks what was there before."""
    dvc.add_source(root, [source])
    dvc.reproduce(root, "first")
    shutil.rmtree(root / ".dvc" / "cache" / "files")
    (root / "data" / "source" / "a.csv").unlink()
    with pytest.raises(FerError, match="stage first"):
        dvc.reproduce(root, "first")
    assert "first.txt not brought back" in caplog.text


def test_going_back_to_earlier_inputs_runs_nothing(root: Path, source: Path) -> None:
    dvc.add_source(root, [source])
    (root / "second.sh").write_text("echo ran >> log.txt; cp first.txt second.txt")
    (root / "log.txt").touch()
    found = []
    for text in ("1\n", "2\n", "1\n", "2\n"):
        source.write_text(text)
        dvc.add_source(root, [source])
        found.append([dvc.reproduce(root, stage) for stage in ("first", "second")])
        assert (root / "second.txt").read_text() == text
    assert found == [[RAN, RAN]] * 2 + [[RESTORED, RESTORED]] * 2
    assert (root / "log.txt").read_text() == "ran\n" * 2


def test_a_stage_held_by_another_process_says_so(root: Path, source: Path) -> None:
    dvc.add_source(root, [source])
    dvc.reproduce(root, "first")
    (root / "second.sh").write_text("touch running; sleep 20; cp first.txt second.txt")
    other = subprocess.Popen(["dvc", "repro", "--single-item", "second"], cwd=root, env=_environment())
    try:
        while not (root / "running").exists():
            assert other.poll() is None
        with pytest.raises(WorkspaceBusyError, match="second"):
            dvc.reproduce(root, "second")
    finally:
        other.kill()
        other.wait()


def test_no_data_is_added_while_dvc_is_locked(root: Path, source: Path) -> None:
    """Data is not put under dvc while another dvc process holds the repository."""
    with Repo(str(root)) as other, other.lock, pytest.raises(WorkspaceBusyError, match="source is not under DVC yet"):
        dvc.add_source(root, [source])
    dvc.add_source(root, [source])


def test_a_stage_whose_run_is_cut_short_does_not_go_on_alone(root: Path, source: Path) -> None:
    dvc.add_source(root, [source])
    dvc.reproduce(root, "first")
    (root / "second.sh").write_text("echo $$ > running; sleep 60")

    def cut_short(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, cut_short)
    try:
        signal.setitimer(signal.ITIMER_REAL, 3)
        with pytest.raises(KeyboardInterrupt):
            dvc.reproduce(root, "second")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not psutil.pid_exists(int((root / "running").read_text()))


def test_a_stage_ends_when_its_run_is_killed(root: Path, source: Path) -> None:
    """A stage whose run was killed ends and the next run takes over."""
    shutil.copy2(Path(__file__).parents[2] / "params.yaml", root)
    (root / "dvc.yaml").write_text(STAGES.replace("sh second.sh", "fer feedback purge --wait -1 && cp first.txt second.txt"))
    dvc.add_source(root, [source])
    dvc.reproduce(root, "first")
    script = "from pathlib import Path; from fer_pipeline.workspace import dvc; dvc.reproduce(Path.cwd(), 'second')"
    with exclusive(root / RUN_LOCK, "a test"):  # the stage waits for it without end
        run = psutil.Popen([sys.executable, "-c", script], cwd=root)
        deadline = time.monotonic() + 60
        while not (stages := [one for one in run.children(recursive=True) if "purge" in one.cmdline()]):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.kill()
        run.wait()
        _, alive = psutil.wait_procs(stages, timeout=30)
    assert not alive
    assert not (root / "second.txt").exists()
    assert dvc.reproduce(root, "second") == RAN


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["missing.csv"], "does not exist"),
        (["a.csv", "a.csv"], "same name"),
    ],
)
def test_a_source_that_cannot_be_added_leaves_the_earlier_one(
    root: Path, source: Path, tmp_path: Path, names: list[str], message: str
) -> None:
    dvc.add_source(root, [source])
    with pytest.raises(SourceError, match=message):
        dvc.add_source(root, [tmp_path / name for name in names])
    assert (root / "data" / "source" / "a.csv").read_text() == "1\n"


def test_names_that_are_no_utf8_are_copied_readably(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """DVC stores names in UTF-8 alone."""
    folder = tmp_path / "faces" / os.fsdecode(b"fran\xe7ais")
    folder.mkdir(parents=True)
    for name in (b"caf\xe9.png", "café.png".encode()):
        (folder / os.fsdecode(name)).touch()
    dvc.add_source(root, [tmp_path / "faces"])
    copied = root / "data" / "source" / "faces" / "fran%E7ais"
    assert sorted(file.name for file in copied.iterdir()) == ["caf%E9.png", "café.png"]
    assert "2 names not in UTF-8 copied" in caplog.text


def test_what_cannot_be_copied_is_named(root: Path, source: Path, tmp_path: Path) -> None:
    dvc.add_source(root, [source])
    (tmp_path / "faces").mkdir()
    os.mkfifo(tmp_path / "faces" / "1.png")
    with pytest.raises(SourceError, match=r"1 of the files in .*faces cannot be copied, the first is .*1.png .*named pipe"):
        dvc.add_source(root, [tmp_path / "faces"])
    assert (root / "data" / "source" / "a.csv").read_text() == "1\n"


def test_the_data_version_is_unknown_before_the_first_fetch(root: Path) -> None:
    with pytest.raises(SourceError, match="fer run"):
        dvc.data_version(root)
    assert dvc.lineage(root, "p")["data_version"] == "none"


def test_a_new_source_does_not_have_the_version_of_the_old(tmp_path: Path) -> None:
    """After `fer data add`, until fetch has run, dvc.lock still names the table of the source before."""
    fetch = {"params": {"params.yaml": {"fetch": {"source": "old"}}}, "outs": [{"md5": "1.dir"}]}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"fetch": fetch}}))
    (tmp_path / "params.yaml").write_text("fetch: {source: old}")
    assert dvc.data_version(tmp_path) == "1.dir"
    (tmp_path / "params.yaml").write_text("fetch: {source: new}")
    with pytest.raises(SourceError, match=r"new is not fetched yet, the table is of old"):
        dvc.data_version(tmp_path)


def test_outside_of_a_repository_the_message_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(FerError, match="run from the root"):
        dvc.stage_names(tmp_path)


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
