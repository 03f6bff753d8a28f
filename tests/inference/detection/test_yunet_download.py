from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.inference.detection import yunet_download
from fer_pipeline.inference.detection.yunet_download import fetch_yunet

CONTENT = b"a detector" * 1000


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with /good, /other, /cut (ends early) and nothing else; /good is the published file."""
    monkeypatch.setattr(yunet_download, "YUNET_SHA256", hashlib.sha256(CONTENT).hexdigest())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = {"/good": CONTENT, "/other": b"<html>", "/cut": CONTENT}.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write((content or b"")[: 100 if self.path == "/cut" else None])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_file_is_fetched_once(site: str, tmp_path: Path) -> None:
    target = tmp_path / "data" / "yunet.onnx"
    assert fetch_yunet(target, f"{site}/good")
    assert target.read_bytes() == CONTENT
    assert not fetch_yunet(target, f"{site}/missing")  # not asked for again
    assert [file.name for file in target.parent.iterdir()] == ["yunet.onnx"]


@pytest.mark.parametrize(
    ("path", "error", "reason"),
    [("/other", ModelError, "6 bytes"), ("/cut", ModelError, "100 bytes"), ("/missing", ToolUnavailableError, "404|Not Found")],
)
def test_what_is_not_the_published_file_is_not_stored(
    site: str, path: str, error: type[Exception], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"earlier")
    with pytest.raises(error, match=reason):
        fetch_yunet(tmp_path / "yunet.onnx", site + path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("yunet.onnx", b"earlier")]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "file:///etc/passwd", "yunet.onnx"])
def test_without_a_network_it_says_what_to_do(url: str, tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailableError) as error:
        fetch_yunet(tmp_path / "yunet.onnx", url)
    assert url in str(error.value)


def test_a_place_that_cannot_be_written_is_named(site: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolUnavailableError, match="cannot be written"):
        fetch_yunet(tmp_path / "file" / "yunet.onnx", f"{site}/good")
