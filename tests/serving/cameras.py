"""Frames of a camera, and a detector that waits for a sign."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from starlette.testclient import WebSocketTestSession

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.recognizer import Recognizer


def jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


EMPTY = jpeg(np.full((60, 80, 3), 125, np.uint8))


def answer_to(socket: WebSocketTestSession, frame: bytes) -> Any:
    socket.send_bytes(frame)
    return socket.receive_json()


class Held:
    """A detector that waits for a sign."""

    name = "held"

    def __init__(self) -> None:
        self.sign = threading.Event()
        self.asked = threading.Semaphore(0)

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        self.asked.release()
        assert self.sign.wait(20)
        return []


def held_recognizer(model: Path) -> tuple[Recognizer, Held]:
    detector = Held()
    return Recognizer(Recognizer.load(model).classifier, detector), detector
