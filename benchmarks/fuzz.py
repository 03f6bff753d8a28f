"""Send malformed requests to a service of two workers: `make fuzz`.

Takes a few minutes; exit status 1 for a fault.

Schemathesis makes requests of the OpenAPI document; then come broken and exploding pictures and videos, slow senders and dropped
connections. No answer may be 5xx, the service must answer as before, and once it has ended nothing may be left in TMPDIR.
"""

from __future__ import annotations

import collections
import io
import logging
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from benchmarks.load import ROOT, Server, served
from benchmarks.service import chosen, jpeg
from fer_pipeline.imaging import ALLOWED_FORMATS

SCHEMATHESIS = "schemathesis@4.32.5"
TOKEN = "s3cret"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
# The document cannot say how the bytes of a picture look; paths with a line break in them are answered by BentoML, as plain text;
# and of a path with several methods Starlette names those of one route.
LEFT_OUT = "positive_data_acceptance,content_type_conformance,allow_header_conformance"

UNFINISHED = (
    "",
    "Content-Length: 100000\r\n\r\n--x",
    "Content-Length: -1\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\nffff\r\n--x",
)

SETTINGS = {
    "BENTOML_CONFIG_OPTIONS": "services.fer.workers=2",
    "FER_TOKEN": TOKEN,
    "FER_MAX_UPLOAD_SECONDS": "3",
    "FER_CLIENT_SHARE_PERCENT": "100",  # all comes from one address
    "FER_MAX_CAMERA_IDLE_SECONDS": "3",
    "FER_MAX_VIDEOS_WAITING": "64",
    "FER_MAX_VIDEO_RESULTS": "80",
}


def broken(data: bytes, times: int, seed: int) -> Iterator[bytes]:
    """The file cut off, or with some of its bytes changed behind the signature."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        values = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(12, len(values), rng.choice([1, 10, 200]))
        values[places] = rng.integers(0, 256, len(places))
        yield values[: rng.integers(12, len(values))].tobytes() if rng.random() < 0.4 else values.tobytes()


def pictures(photo: Image.Image) -> Iterator[bytes]:
    """Yield broken pictures of each format, and decompression bombs."""
    for seed, form in enumerate(form for form in ALLOWED_FORMATS if form in Image.SAVE):
        buffer = io.BytesIO()
        photo.resize((200, 150)).save(buffer, form)
        yield from broken(buffer.getvalue(), 30, seed)
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (1, 50_000_000), (10_000, 5000)):
        yield _png(width, height)
    yield _png(64, 64, b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    yield _png(64, 64, b"iCCP", b"profile\0\0" + zlib.compress(bytes(50_000_000)))
    for mode, form in (("CMYK", "JPEG"), ("I;16", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("1", "BMP")):
        buffer = io.BytesIO()
        Image.new(mode, (64, 64)).save(buffer, form)
        yield buffer.getvalue()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64), "red")] * 300)
    yield buffer.getvalue()


def _png(width: int, height: int, kind: bytes = b"tEXt", extra: bytes = b"a\0b") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(20_000_000, (width // 8 + 1) * height)))
    parts = ((b"IHDR", header), (kind, extra), (b"IDAT", rows), (b"IEND", b""))
    words = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(words)


def videos(photo: Image.Image, folder: Path) -> Iterator[bytes]:
    """Yield broken videos of several containers.

    Among them one of 600 frames a second, one of large frames, and two that are signatures alone.
    """
    for seed, (name, codec) in enumerate((("a.mp4", "mpeg4"), ("a.mkv", "mpeg4"), ("a.avi", "mpeg4"), ("a.webm", "libvpx"))):
        yield from broken(_video(folder / name, codec, photo.resize((160, 120)), 25, 40), 8, seed)
    yield _video(folder / "fast.mp4", "mpeg4", photo.resize((64, 48)), 600, 600)
    yield _video(folder / "large.mp4", "mpeg4", Image.new("RGB", (4096, 4096)), 25, 3)
    yield b"\x1aE\xdf\xa3" + bytes(1000)
    yield b"\0\0\0\x18ftypisom" + bytes(1000)


def _video(path: Path, codec: str, image: Image.Image, rate: int, frames: int) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = (*image.size, "yuv420p")
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))
    return path.read_bytes()


def main() -> None:
    """Prints what was answered how often, and each fault."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # it does not expect that we drop connections
    model, detectors, photo = chosen()
    statuses: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="fer-fuzz-") as made:
        scratch, feedback, own = (Path(made) / name for name in ("scratch", "feedback", "own"))
        for folder in (scratch, feedback, own):
            folder.mkdir()
        with served(model, detectors[0], **SETTINGS, TMPDIR=str(scratch), FER_FEEDBACK=str(feedback)) as server:
            faults = [] if _schemathesis(server, own) else ["schemathesis found faults"]
            with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=HEADERS, timeout=120) as http:
                for outcome in (_send_pictures(http, photo), _send_videos(http, photo, own), _break_off(server, jpeg(photo))):
                    statuses.update(outcome)
                time.sleep(4)  # until the last slow sender is cut off
                faults += _after(http, jpeg(photo))
        faults += [f"left in TMPDIR: {path.relative_to(scratch)}" for path in scratch.rglob("*")]
    console = Console()
    for what, count in sorted(statuses.items()):
        console.print(f"{count:5d}  {what}", markup=False, soft_wrap=True)
    faults += [what for what in statuses if " 5" in what]
    console.print("\n".join(faults) or "no fault found", markup=False, soft_wrap=True)
    sys.exit(bool(faults))


def _schemathesis(server: Server, folder: Path) -> bool:
    uv = ROOT / ".uv" / "bin" / "uv"
    command = [uv if uv.is_file() else "uv", "tool", "run", SCHEMATHESIS, "run", f"http://127.0.0.1:{server.port}/openapi.json"]
    options = ["--checks", "all", "--exclude-checks", LEFT_OUT, "--max-examples", "50", "--seed", "1", "--warnings", "off"]
    token = ["-H", f"Authorization: Bearer {TOKEN}", "--continue-on-failure"]
    done = subprocess.run([*command, *options, *token], cwd=folder, check=False)  # it leaves its notes where it runs
    return done.returncode == 0


def _send_pictures(http: httpx.Client, photo: Image.Image) -> Iterator[str]:
    routes = ("/predict", "/predict?framing=face", "/predict/batch", "/annotate", "/explain?framing=face")
    for number, picture in enumerate(pictures(photo)):
        path = routes[number % len(routes)]
        answer = http.post(path, files={"pictures" if "batch" in path else "picture": picture})
        yield f"picture {answer.status_code}"


def _send_videos(http: httpx.Client, photo: Image.Image, folder: Path) -> Iterator[str]:
    jobs = []
    for video in videos(photo, folder):
        answer = http.post("/video", content=video)
        yield f"video {answer.status_code}"
        if answer.status_code == 202:
            jobs.append(answer.json()["job"])
    for job in jobs:
        while (state := http.get(f"/video/{job}").json())["state"] in ("queued", "running"):
            time.sleep(0.2)
        yield f"video {state['state']} {(state['error'] or {}).get('code', '')}"
        if state["state"] == "done":
            path = f"/video/{job}/files/{state['files'][-1]}"
            yield f"video file {http.get(path).status_code}"
    for job in jobs[1:]:  # one stays until the service ends
        yield f"video deleted {http.delete(f'/video/{job}').status_code}"


def _break_off(server: Server, picture: bytes) -> Iterator[str]:
    """Send requests that stop halfway, and cameras with invalid frames."""
    address = ("127.0.0.1", server.port)
    kind = "multipart/form-data; boundary=x"
    standing = []
    for path, content in (("/predict", kind), ("/video", "application/octet-stream"), ("/feedback", kind)):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {content}\r\n"
        for end in UNFINISHED:
            for stays in (False, True):
                stream = socket.create_connection(address, timeout=10)
                stream.sendall((head + end).encode())
                standing.append(stream) if stays else stream.close()
    for messages in ([picture] * 50, ["{"] * 50, [picture[:500]], [b"", "x" * 100_000, bytes(2_000_000)], []):
        with connect(f"ws://127.0.0.1:{server.port}/live", additional_headers=HEADERS) as camera:
            try:
                for message in messages:
                    camera.send(message)
                camera.recv(timeout=5)
                if messages:
                    camera.socket.close()
                yield "camera dropped" if messages else "camera idle"
            except (WebSocketException, TimeoutError) as error:
                yield f"camera {type(error).__name__}"
    for stream in standing:
        stream.settimeout(35)
        try:
            yield f"standing still {stream.recv(100).partition(b' ')[2][:3].decode() or 'closed'}"
        except OSError as error:
            yield f"standing still {type(error).__name__}"
        stream.close()


def _after(http: httpx.Client, picture: bytes) -> Iterator[str]:
    answer = http.post("/predict", files={"picture": picture})
    if answer.status_code != 200 or len(answer.json()["faces"]) != 1:
        yield f"the service answers {answer.status_code} to a picture: {answer.text[:200]}"
    for line in http.get("/metrics").text.splitlines():
        if 'reason="internal_error"' in line or ('http_response_code="5' in line and "_bucket" not in line):
            yield f"counted: {line}"
        if line.startswith("fer_cameras ") and float(line.split()[-1]) != 0:
            yield f"a camera's place is still taken: {line}"


if __name__ == "__main__":
    main()
