from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.files import replaced_file, replaced_folder, tidy, write_json


def test_a_folder_takes_its_place_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with replaced_folder(target) as folder:
        (folder / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_earlier_folder_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError), replaced_folder(target) as folder:
        (folder / "no such folder" / "new").touch()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_noticed_before_the_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room to move the earlier folder aside, what the block does beside the folder could not be undone."""
    make = tempfile.mkdtemp

    def full(**place: Any) -> str:
        if ".old-" in place["prefix"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(**place)

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(ToolUnavailableError, match="No space left"), replaced_folder(tmp_path / "out"):
        pytest.fail("the block ran")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_aside_is_cleared_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "out"
    script = f"""
import os, signal
from pathlib import Path
from fer_pipeline.workspace.files import replaced_folder
with replaced_folder(Path({str(target)!r})) as folder:
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert not target.exists()
    assert list(tmp_path.glob(".out.new-*"))
    with replaced_folder(target) as folder:
        (folder / "whole").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_content_that_a_killed_run_moved_aside_comes_back(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    aside = tmp_path / f".out.old-{dead.pid}-abc" / "content"
    aside.mkdir(parents=True)
    (aside / "old").touch()
    with pytest.raises(FileNotFoundError), replaced_folder(tmp_path / "out") as folder:
        (folder / "no such folder" / "new").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]


def test_what_a_living_process_writes_aside_is_left_alone(tmp_path: Path) -> None:
    with replaced_folder(tmp_path / "out") as slow:
        (slow / "slow").touch()
        with replaced_folder(tmp_path / "out") as quick:
            (quick / "quick").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["slow"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ToolUnavailableError, match="cannot be written"), replaced_folder(tmp_path / "out"):
        pass


def test_a_file_in_the_place_of_the_parent_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolUnavailableError, match="cannot be written"), replaced_folder(tmp_path / "file" / "out"):
        pass


def test_json_is_written_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "facts.json", {"a": 1})
    assert json.loads((tmp_path / "deep" / "facts.json").read_text()) == {"a": 1}


def test_a_file_takes_its_place_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out.txt"
    for content in ("old", "new"):
        with replaced_file(target, durable=True) as aside:
            aside.write_text(content)
            assert not target.exists() or target.read_text() == "old"
        assert target.read_text() == content
    assert [path.name for path in target.parent.iterdir()] == ["out.txt"]


def test_a_failure_leaves_the_earlier_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError), replaced_file(target) as aside:
        aside.write_text("half" * 10_000 + "\udc80")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with replaced_file(target) as slow:
        slow.write_text("slow")
        with replaced_file(target) as quick:
            quick.write_text("quick")
        tidy(target)  # leaves alone what a living process writes
    assert target.read_text() == "slow"


def test_a_file_that_a_killed_process_left_is_tidied_away(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".out.txt.new-{dead.pid}-abc").write_text("half")
    tidy(tmp_path / "out.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out:1", "[1]", "a*b", "C:x [y]"])
def test_any_name_is_replaced_and_tidied(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow writes into a folder that was named with a colon, and what a killed writer left is found below any name."""
    table = pa.table({"row": [1, 2]})
    monkeypatch.chdir(tmp_path)
    with replaced_folder(Path(name)) as folder, replaced_file(folder / "rows.parquet") as aside:
        pq.write_table(table, aside)
    assert pq.read_table(tmp_path / name / "rows.parquet").equals(table)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".{name}.new-{dead.pid}-abc").mkdir()
    tidy(Path(name))
    assert [path.name for path in tmp_path.iterdir()] == [name]
