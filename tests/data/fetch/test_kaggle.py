"""Download from Kaggle, against a stand-in for its client: the real one needs the network and a token."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from requests import ConnectionError as NoConnection, HTTPError

from fer_pipeline.data.fetch.kaggle import download
from fer_pipeline.errors import FerError, SourceError, ToolUnavailableError


class KaggleApiHTTPError(HTTPError):
    pass


class UnauthenticatedError(Exception):
    pass


class DataCorruptionError(Exception):
    pass


@pytest.fixture
def kagglehub(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A client with the names and errors of kagglehub 1.0.2 that writes one file."""

    def dataset_download(handle: str, *, output_dir: str, force_download: bool) -> str:
        (Path(output_dir) / "fer2013.csv").write_text(handle)
        return output_dir

    client: Any = ModuleType("kagglehub")
    client.dataset_download = dataset_download
    errors: Any = ModuleType("kagglehub.exceptions")
    for kind in (KaggleApiHTTPError, UnauthenticatedError, DataCorruptionError):
        setattr(errors, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "kagglehub", client)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", errors)
    return client  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["msambare/fer2013", "msambare/fer2013/versions/2"])
def test_the_files_lie_in_a_folder_named_after_the_set(name: str, kagglehub: ModuleType, tmp_path: Path) -> None:
    folder = download(f"kaggle:{name}", tmp_path)
    assert folder == tmp_path / "fer2013"
    assert (folder / "fer2013.csv").read_text() == name


@pytest.mark.parametrize(
    "name",
    ["fer2013", "kaggle:fer2013", "kaggle:a/b/c", "kaggle:a/../b", "kaggle:/b", "kaggle:a/b\n", "hub:a/b", "kaggle:a b/c", ""],
)
def test_a_malformed_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected kaggle:OWNER/SET"):
        download(name, tmp_path)


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ToolUnavailableError, match=r"kagglehub.*make install EXTRAS=kaggle"):
        download("kaggle:a/b", tmp_path)


def refused(status: int) -> KaggleApiHTTPError:
    error = KaggleApiHTTPError("Client Error.\n\nlong story")
    error.response = SimpleNamespace(status_code=status)  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (UnauthenticatedError("User is not authenticated"), ToolUnavailableError, "wants a token .*kaggle.json"),
        (refused(401), ToolUnavailableError, r"refused access \(401\)"),
        (refused(403), ToolUnavailableError, r"refused access \(403\): accept its terms"),
        (refused(404), SourceError, "no such data set"),
        (refused(500), ToolUnavailableError, r"answered Client Error\.: try again later"),
        (KaggleApiHTTPError("no answer"), ToolUnavailableError, "answered no answer"),
        (NoConnection("Name or service not known"), ToolUnavailableError, "cannot be reached .* check the network"),
        (DataCorruptionError("checksum"), ToolUnavailableError, "the download failed"),
        (OSError(28, "No space left on device"), ToolUnavailableError, "No space left"),
    ],
)
def test_each_failure_names_its_cause_and_keeps_what_was_there(
    error: Exception, kind: type[FerError], message: str, kagglehub: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download("kaggle:a/b", tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    with pytest.raises(kind, match=message):
        download("kaggle:a/b", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b" / "fer2013.csv").exists()
