"""Files of a source are recognised by their names."""

from __future__ import annotations

import pytest

from fer_pipeline.data.fetch.file_kinds import is_archive, is_hidden


@pytest.mark.parametrize(
    ("name", "archive"),
    [("a.zip", True), ("A.ZIP", True), ("a.tar", True), ("a.tar.gz", True), ("a.tgz", True), ("a.gz", False), ("a.csv", False)],
)
def test_archives_are_known_by_their_name(name: str, archive: bool) -> None:
    assert is_archive(name) == archive


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("happy/1.jpg", False),
        ("happy/.1.jpg", True),
        (".git/1.jpg", True),
        ("__MACOSX/1.jpg", True),
        ("a/thumbs.db", True),
        ("a/DESKTOP.INI", True),
        ("thumbs.db/1.jpg", False),
        ("a.b/1.jpg", False),
        ("happy/@eaDir/1.jpg", True),
        ("$RECYCLE.BIN/1.jpg", True),
        ("System Volume Information/1.jpg", True),
        ("lost+found/1.jpg", True),
    ],
)
def test_hidden_and_system_files_are_known_by_their_name(name: str, hidden: bool) -> None:
    assert is_hidden(name) == hidden
