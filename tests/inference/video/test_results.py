from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path

import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.inference.video import results
from fer_pipeline.inference.video.results import has_finished_results, replaced_results

MARKS = ("summary.json", "report.html")


def write_results(folder: Path, run: str, *, complete: bool = True, names: tuple[str, ...] = ("faces.jsonl", *MARKS)) -> None:
    for name in names:
        (folder / name).write_text(json.dumps({"run": run, "complete": complete}))
    (folder / "peaks").mkdir()
    (folder / "peaks" / f"person-0001-{run}.png").write_text(run)


def read(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def replace_or_die(out: Path, step: int) -> bool:
    """Replaces the results in a process that dies before its n-th renaming; whether it died."""
    child = os.fork()
    if child == 0:
        steps, rename = count(), os.replace

        def dying(source: Path, target: Path) -> None:
            if next(steps) == step:
                os._exit(9)
            rename(source, target)

        results.os.replace = dying  # type: ignore[attr-defined]
        with replaced_results(out) as aside:
            write_results(aside, "new", names=("faces.jsonl", "faces.csv", *MARKS))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_run_killed_at_any_moment_leaves_one_set_of_results(tmp_path: Path) -> None:
    """A run that is killed at any moment leaves the old results or the new never both."""
    for step in count():
        out = tmp_path / str(step)
        out.mkdir()
        write_results(out, "old", names=("faces.jsonl", "annotated.webm", *MARKS))
        old = read(out)
        died = replace_or_die(out, step)
        shown = {name: text for name, text in read(out).items() if name in MARKS}
        assert len({json.loads(text)["run"] for text in shown.values()}) <= 1
        with pytest.raises(ZeroDivisionError), replaced_results(out):
            raise ZeroDivisionError
        found = read(out)
        assert found == old or {json.loads(found[name])["run"] for name in ("faces.jsonl", "faces.csv", *MARKS)} == {"new"}
        assert not list(out.glob(".*"))
        if not died:
            break
    assert step >= 8
    assert found != old
    assert "annotated.webm" not in found


def test_a_run_that_is_killed_before_its_end_changes_nothing(tmp_path: Path) -> None:
    write_results(tmp_path, "old")
    old = read(tmp_path)
    child = os.fork()
    if child == 0:
        with replaced_results(tmp_path) as aside:
            (aside / "faces.jsonl").write_text('{"fra')
            os._exit(9)
    os.waitpid(child, 0)
    assert {name: text for name, text in read(tmp_path).items() if not name.startswith(".")} == old
    with replaced_results(tmp_path) as aside:
        write_results(aside, "new")
    assert not [name for name in read(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(("before", "after", "stays"), [(True, False, True), (False, False, False), (False, True, False)])
def test_only_what_is_complete_replaces_finished_results(tmp_path: Path, before: bool, after: bool, stays: bool) -> None:
    write_results(tmp_path, "old", complete=before)
    with replaced_results(tmp_path) as aside:
        write_results(aside, "new", complete=after)
    assert ("old" in (tmp_path / "report.html").read_text()) == stays
    assert has_finished_results(tmp_path) == (before or after)


def test_a_failed_run_never_replaces_finished_results(tmp_path: Path) -> None:
    """What a failed run has is placed where nothing finished is."""

    def fail() -> None:
        with replaced_results(tmp_path / "out") as aside:
            write_results(aside, "new", complete=False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "new" in (tmp_path / "out" / "faces.jsonl").read_text()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolUnavailableError, match="file/out cannot be written"), replaced_results(tmp_path / "file" / "out"):
        pass
