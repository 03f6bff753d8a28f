"""Measure how long a camera frame waits for its reply, on loopback.

Model, detector and picture are those of `benchmarks.service`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

from PIL import Image, ImageChops
from rich.table import Table
from websockets.sync.client import connect

from benchmarks.inference import milliseconds
from benchmarks.load import Server, served
from benchmarks.service import chosen, jpeg, verdict
from fer_pipeline.imaging import decode, shrink
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.routes.live import DETECTION_SIDE, PROTOCOL

FRAMES = 200
MAX_ANSWER_MILLISECONDS = {"centerface": 40.0, "haar": 80.0, "yunet": 40.0}


def tables() -> Iterator[Table]:
    """Replies per detector. Raises `ModelError` for a damaged model or detector."""
    model, detectors, picture = chosen()
    for detector in detectors:
        recognizer = Recognizer.load(model, detector)
        with served(model, detector, FER_MAX_CAMERA_FPS="1000") as server:
            yield _replies(server, recognizer, picture)


def _replies(server: Server, recognizer: Recognizer, picture: Image.Image) -> Table:
    frames = [jpeg(ImageChops.offset(picture, 3 * (n % 20), 2 * (n % 20))) for n in range(20)]
    seconds, inside, faces = [], [], 0
    with connect(f"ws://127.0.0.1:{server.port}/live", subprotocols=[PROTOCOL]) as camera:  # type: ignore[list-item]
        camera.recv()
        for number in range(FRAMES + 10):
            started = time.perf_counter()
            camera.send(frames[number % len(frames)])
            reply = json.loads(camera.recv())
            if number >= 10:
                seconds.append(1000 * (time.perf_counter() - started))
                inside.append(reply["milliseconds"])
                faces += len(reply["faces"])
    image = decode(frames[0])
    small = shrink(image, DETECTION_SIDE)
    found = [face.scaled(image.shape[1] / small.shape[1]) for face in recognizer.detector.detect(small)]
    name, median = recognizer.detector.name, statistics.median(seconds)
    table = Table(
        "640x480 JPEG, the next frame at each reply", "ms", title=f"live camera, {name}, {faces / FRAMES:.2f} faces a frame"
    )
    table.add_row(
        "reply, median",
        f"{median:.1f}, under {MAX_ANSWER_MILLISECONDS[name]:g}: {verdict(median < MAX_ANSWER_MILLISECONDS[name])}",
    )
    table.add_row("reply, 95 % below", f"{statistics.quantiles(seconds, n=20)[-1]:.1f}", end_section=True)
    table.add_row("of which: decode, detect, track and classify as the service counts them", f"{statistics.median(inside):.1f}")
    table.add_row("decode here", f"{milliseconds(lambda: decode(frames[0])):.1f}")
    table.add_row(f"detect at {DETECTION_SIDE} pixels here", f"{milliseconds(lambda: recognizer.detector.detect(small)):.1f}")
    table.add_row("crop, classify, judge here", f"{milliseconds(lambda: recognizer.recognize_found([(image, found)])):.1f}")
    table.add_row("WebSocket and hand over between threads", f"{median - statistics.median(inside):.1f}")
    return table
