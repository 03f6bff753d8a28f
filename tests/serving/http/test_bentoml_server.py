"""Attacks on the server around the app, carried out on loopback against a running service."""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from bentoml._internal.utils import circus
from bentoml.exceptions import BentoMLConfigException
from circus.client import CircusClient
from circus.exc import CallError
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import connect

from benchmarks.load import Server, served
from fer_pipeline.serving.http.bentoml_server import keep_supervisor_private
from tests.serving.ports import open_ports

pytestmark = [pytest.mark.slow, pytest.mark.attack]

TOKEN = "s3cret"
LIMITS = {"FER_MAX_CAMERA_KILOBYTES": "100", "FER_MAX_STALL_SECONDS": "2"}


@pytest.fixture(scope="module")
def server(brightness_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    scratch = tmp_path_factory.mktemp("scratch")
    with served(brightness_model, TMPDIR=str(scratch), FER_TOKEN=TOKEN, **LIMITS) as started:
        yield started
    assert list(scratch.iterdir()) == []


def test_the_service_listens_on_its_own_port_alone(server: Server) -> None:
    assert open_ports(server.process) == {server.port}


def test_no_port_takes_commands_for_the_supervisor(server: Server, tmp_path: Path) -> None:
    """A process added through Circus' control port would run as the user of the service, with its environment."""
    stolen = tmp_path / "environment"
    script = f"import os; open({str(stolen)!r}, 'w').write(str(dict(os.environ)))"
    for port in open_ports(server.process):
        client = CircusClient(endpoint=f"tcp://127.0.0.1:{port}", timeout=2)
        with suppress(CallError):  # no answer
            options = {"copy_env": True, "singleton": True}
            added = {"name": "stolen", "cmd": sys.executable, "args": ["-c", script], "start": True, "options": options}
            client.send_message("add", waiting=True, **added)
        client.stop()
    assert not stolen.exists()


def peak_memory(server: Server) -> float:
    """The most memory that the worker has held so far, in MB."""
    (worker,) = psutil.Process(server.process).children()
    (line,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{worker.pid}/status").read_text(), re.MULTILINE)
    return int(line) / 1000


def test_compressed_frames_of_strangers_are_not_inflated(server: Server) -> None:
    """Each frame has 16 kB on the wire and 16 MB unpacked; they come with the handshake, before anything is answered."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -12)
    content = packed.compress(bytes(16_000_000)) + packed.flush(zlib.Z_SYNC_FLUSH)[:-4]
    frame = b"\xc2\xfe" + struct.pack(">H", len(content)) + bytes(4) + content
    head = (
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\r\n\r\n"
    )
    before, answers = peak_memory(server), []
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as stream, suppress(OSError):
            stream.sendall(head.encode() + 4 * frame)
            answers.append(stream.recv(100).split()[1])
            while stream.recv(65536):
                pass
    assert peak_memory(server) < before + 30
    assert answers == 6 * [b"401"]


def test_no_compression_is_agreed_and_large_frames_end_a_session(server: Server) -> None:
    address, headers = f"ws://127.0.0.1:{server.port}/live", {"Authorization": f"Bearer {TOKEN}"}
    with connect(address, additional_headers=headers) as camera:
        assert camera.protocol.extensions == []
        camera.recv(timeout=20)
        camera.send(bytes(101_000))
        assert json.loads(camera.recv(timeout=20))["code"] == "message_too_large"
        with suppress(ConnectionClosed):
            camera.send(bytes(200_000))
        with pytest.raises(ConnectionClosedError) as closed:
            camera.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == CloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Bearer x"}, 401), ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://x.example"}, 403)],
)
def test_a_stranger_gets_no_websocket(server: Server, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{server.port}/live", additional_headers=headers)
    assert refused.value.response.status_code == status


def test_readers_that_never_read_lose_their_places(server: Server) -> None:
    """64 of them were all that the service sends model files to; the attacker has an address of its own."""
    head = f"GET /model/runtime HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    greedy = []
    for _ in range(64):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.bind(("127.0.0.2", 0))
        reader.settimeout(20)
        reader.connect(("127.0.0.1", server.port))
        reader.sendall(head.encode())
        greedy.append(reader)
    statuses = [reader.recv(12)[9:] for reader in greedy]
    assert sorted(statuses) == [b"200"] * 32 + [b"429"] * 32
    held = {
        (reader.getpeername(), reader.getsockname()) for reader, status in zip(greedy, statuses, strict=True) if status == b"200"
    }
    address, headers = f"http://127.0.0.1:{server.port}/model/runtime", {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(address, headers=headers, timeout=60).status_code == 200
    end = time.monotonic() + 20
    while held & {(each.laddr, each.raddr) for each in psutil.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED}:
        assert time.monotonic() < end, "readers that read nothing keep their connections"
        time.sleep(0.2)
    via = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=via, headers=headers, timeout=60) as again:
        assert again.get(address).status_code == 200
    for reader in greedy:
        reader.close()


def test_reload_is_refused_since_it_needs_a_port() -> None:
    keep_supervisor_private()
    with pytest.raises(BentoMLConfigException, match="--reload is not possible"):
        circus.create_standalone_arbiter([], plugins=[{"use": "a plugin"}])
