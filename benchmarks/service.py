"""Measure the service over HTTP: answers, overload, slow clients, memory.

All ratios are of one run.

Serves the shipped model `fast` with the code of this repository. The environment names what to measure with:
`BENCH_PICTURE`, a photo with one face (default: a drawn one), `BENCH_YUNET`, YuNet's file (default: what `fer models fetch yunet`
fetched), and `BENCH_SOAK_MINUTES` (default 10).
"""

from __future__ import annotations

import io
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from rich.table import Table

from benchmarks.inference import MODEL, milliseconds, scene
from benchmarks.load import Client, Server, closed_loop, form, open_loop, percentile, served
from fer_pipeline.data.synthetic.generator import draw_faces
from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import DEFAULT_DETECTOR, decode
from fer_pipeline.inference.detection.yunet_download import find_yunet
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.sandbox.decoder_pool import DecoderPool
from fer_pipeline.serving.settings import Limits

ROUNDS = 150
"""Pictures that are sent one after another, each beside a call of the library."""

LOAD_SECONDS, CLIENTS, OVERLOAD = 20.0, 40, 2.0
SLOW_CLIENTS = 16

MAX_ANSWER, MAX_TAIL, MAX_GROWTH = 1.3, 4.0, 0.05


def tables() -> Iterator[Table]:
    """Answers per detector; overload, slow clients and memory with the default one.

    Raises `ModelError` for a damaged model or detector, and `ImageError` where the picture does not show one face.
    """
    model, detectors, photo = chosen()
    picture = jpeg(photo)
    for detector in detectors:
        recognizer = Recognizer.load(model, detector)
        faces = len(recognizer.recognize(decode(picture)))
        if faces != 1:
            raise ImageError(f"{recognizer.detector.name} finds {faces} faces in the picture, expected one: name another photo")
        with served(model, detector, FER_CLIENT_SHARE_PERCENT="100") as server:  # all comes from one address
            yield _answers(server, recognizer, picture)
            if detector == DEFAULT_DETECTOR:
                yield _overload(server, picture)
                yield _slow_clients(server, picture)
                yield _memory(server, picture, 60 * float(os.environ.get("BENCH_SOAK_MINUTES", "10")))


def chosen() -> tuple[Path, tuple[str, ...], Image.Image]:
    """Return the model's folder, the detectors, and an RGB picture.

    YuNet is among the detectors where its file is there. The picture has 640x480 pixels.
    """
    yunet, photo = os.environ.get("BENCH_YUNET") or find_yunet(), os.environ.get("BENCH_PICTURE")
    if photo:
        with Image.open(photo) as file:
            picture = ImageOps.pad(ImageOps.exif_transpose(file).convert("RGB"), (640, 480))
    else:
        noise = np.random.default_rng(0).integers(-6, 7, (480, 640, 3))
        picture = Image.fromarray(np.clip(scene(draw_faces(64, 0)[0][0]) + noise, 0, 255).astype(np.uint8))
    return MODEL, (DEFAULT_DETECTOR, "haar", *([str(Path(yunet).resolve())] if yunet else [])), picture


def jpeg(picture: Image.Image) -> bytes:
    """The picture as a camera or phone would send it."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def verdict(reached: bool) -> str:
    """How a target is told in a table."""
    return "[green]reached[/]" if reached else "[red]missed[/]"


def _answers(server: Server, recognizer: Recognizer, picture: bytes) -> Table:
    client = Client(server.port)
    http, library, inside = [], [], []
    for number in range(ROUNDS + 10):
        answer = client.send(picture)
        started = time.perf_counter()
        recognizer.recognize(decode(picture))
        seconds = time.perf_counter() - started
        if number >= 10:
            http.append(1000 * answer.seconds)
            library.append(1000 * seconds)
            inside.append(answer.body["milliseconds"])
    refused = milliseconds(lambda: client.send(b"no picture" + picture), ROUNDS)  # comes in, is parsed, and answered at once
    bare = milliseconds(lambda: client.get("/livez"), ROUNDS)
    image = decode(picture)
    found = recognizer.detector.detect(image)
    sandbox = DecoderPool(1, Limits())
    handed = milliseconds(lambda: sandbox.decode(picture), ROUNDS)
    sandbox.close()
    ratio = statistics.median(http) / statistics.median(library)
    name = recognizer.detector.name
    table = Table("640x480 JPEG, one after another", "ms", title=f"POST /predict, one face, {name}")
    table.add_row("answer, median", f"{statistics.median(http):.2f}")
    table.add_row("the same call of the library, median", f"{statistics.median(library):.2f}")
    table.add_row("ratio", f"{ratio:.2f}, at most {MAX_ANSWER}: {verdict(ratio <= MAX_ANSWER)}", end_section=True)
    table.add_row("of which: connection and routing (GET /livez)", f"{bare:.2f}")
    table.add_row(f"upload of {len(picture) / 1000:.0f} kB", f"{refused - bare:.2f}")
    table.add_row(f"decode in its process (here it takes {milliseconds(lambda: decode(picture)):.2f})", f"{handed:.2f}")
    table.add_row("detect", f"{milliseconds(lambda: recognizer.detector.detect(image)):.2f}")
    table.add_row("crop, classify, judge", f"{milliseconds(lambda: recognizer.recognize_found([(image, found)])):.2f}")
    table.add_row("decode, detect and classify as the service counts them", f"{statistics.median(inside):.2f}")
    table.add_row("answer and hand over between threads", f"{statistics.median(http) - statistics.median(inside) - refused:.2f}")
    table.add_row("start of the service until ready", f"{1000 * server.seconds:.0f}")
    return table


def _overload(server: Server, picture: bytes) -> Table:
    alone = closed_loop(server.port, picture, 1, LOAD_SECONDS / 4)
    most = closed_loop(server.port, picture, Limits().parallel, LOAD_SECONDS / 2)
    capacity = len(most) / (LOAD_SECONDS / 2)
    answers = open_loop(server.port, picture, OVERLOAD * capacity, LOAD_SECONDS, CLIENTS)
    accepted = [answer for answer in answers if answer.status == 200]
    excess = [answer for answer in answers if answer.status == 429]
    others = sorted({answer.status for answer in answers} - {200, 429})
    median = percentile(alone, 50)
    tail = percentile(accepted, 99) / median
    hinted = sum(answer.retry_after is not None for answer in excess)
    kept = len(accepted) / LOAD_SECONDS / capacity
    right = not others and excess != [] and hinted == len(excess)
    table = Table("what", "value", title=f"{OVERLOAD:g} times the load that the service can do, for {LOAD_SECONDS:g} s")
    table.add_row("capacity, pictures/s", f"{capacity:.1f}")
    table.add_row("sent", f"{len(answers)}, {len(answers) / LOAD_SECONDS / capacity:.2f} times the capacity")
    table.add_row("200", f"{len(accepted)}, {100 * kept:.0f} % of the capacity")
    table.add_row("429", f"{len(excess)}, {hinted} of them with Retry-After; others: {others or 'none'}: {verdict(right)}")
    table.add_row("answer to a single client, median, ms", f"{median:.1f}")
    table.add_row("answers under overload, median, ms", f"{percentile(accepted, 50):.1f}")
    table.add_row("99 % of them below, ms", f"{percentile(accepted, 99):.1f}")
    table.add_row("that over the single client's median", f"{tail:.2f}, under {MAX_TAIL:g}: {verdict(tail < MAX_TAIL)}")
    table.add_row("refusals, median, ms", f"{percentile(excess, 50):.1f}" if excess else "none")
    return table


def _slow_clients(server: Server, picture: bytes) -> Table:
    before = closed_loop(server.port, picture, 1, LOAD_SECONDS / 4)
    with _trickling(server.port, picture):
        beside = closed_loop(server.port, picture, 1, LOAD_SECONDS / 4)
    table = Table("one client, median ms", "value", title=f"{SLOW_CLIENTS} clients that send a byte now and then")
    table.add_row("without them", f"{percentile(before, 50):.1f}")
    ratio = percentile(beside, 50) / percentile(before, 50)
    right = all(answer.status == 200 for answer in beside)
    table.add_row("beside them", f"{percentile(beside, 50):.1f}, {ratio:.2f} times; all answered: {verdict(right)}")
    return table


@contextmanager
def _trickling(port: int, picture: bytes) -> Iterator[None]:
    body = form(picture)
    ended = threading.Event()
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: multipart/form-data; boundary=fer-benchmark\r\n"
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(SLOW_CLIENTS)]

    def trickle() -> None:
        for number in range(len(body)):
            for each in sockets:
                each.sendall(body[number : number + 1])
            if ended.wait(0.1):
                return

    for each in sockets:
        each.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for each in sockets:
            each.close()


def _memory(server: Server, picture: bytes, seconds: float) -> Table:
    mixture = [picture, picture[: len(picture) // 2], b"no picture"]
    end, warm = time.perf_counter() + seconds, time.perf_counter() + min(30.0, seconds / 4)
    statuses: dict[int, int] = {}
    samples: list[tuple[float, float]] = []

    def press(data: bytes) -> None:
        client = Client(server.port)
        while time.perf_counter() < end:
            answer = client.send(data)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
        client.close()

    threads = [threading.Thread(target=press, args=(data,)) for data in mixture]
    for thread in threads:
        thread.start()
    while (now := time.perf_counter()) < end:
        if now > warm:
            samples.append((now, server.memory()))
        time.sleep(1)
    for thread in threads:
        thread.join()
    third = len(samples) // 3
    first, last = (statistics.median(mb for _, mb in part) for part in (samples[:third], samples[-third:]))
    growth = last / first - 1
    told = ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items()))
    table = Table("what", "value", title=f"memory over {seconds / 60:g} min of pictures, broken pictures and none")
    table.add_row("answers", told)
    table.add_row("all processes, first third, MB", f"{first:.0f}")
    table.add_row("last third, MB", f"{last:.0f}")
    table.add_row("growth", f"{100 * growth:+.1f} %, at most +{100 * MAX_GROWTH:.0f} %: {verdict(growth <= MAX_GROWTH)}")
    return table
