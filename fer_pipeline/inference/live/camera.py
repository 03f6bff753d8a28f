"""Frames of a live camera, and the loop that shows them with their faces."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.drawing import annotate_tracked
from fer_pipeline.inference.stream import FaceStream


@dataclass(frozen=True)
class WatchSummary:
    """Frames that were shown, and the seconds that they took."""

    frames: int
    seconds: float

    @property
    def fps(self) -> float:
        """Return the frames per second; 0 where there were none."""
        return self.frames / self.seconds if self.seconds else 0.0


def camera_frames(camera: int | str) -> Generator[UInt8Array]:
    """Yield the frames of a camera, RGB uint8 (H, W, 3), until it gives no more.

    `camera` is its number, from 0, or the path of its device. Raises `ToolUnavailableError` where it cannot be opened.
    """
    # OpenCV would print its own lines about a camera that is not there.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(camera)
    try:
        if not capture.isOpened():
            raise ToolUnavailableError(
                f"camera {camera} cannot be opened: connect it, end what uses it, or give another number (--camera 1)"
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # else what is shown is some frames old
        while True:
            read, frame = capture.read()
            if not read:
                return
            yield np.ascontiguousarray(np.asarray(frame, dtype=np.uint8)[:, :, ::-1])
    finally:
        capture.release()


def watch(
    frames: Iterator[UInt8Array], stream: FaceStream, show: Callable[[UInt8Array], bool], *, mirror: bool = False
) -> WatchSummary:
    """Show frames with their faces drawn in until `show` returns false or they end.

    `mirror` flips each frame from left to right before.
    """
    start = time.monotonic()
    count = 0
    for frame in frames:
        image = np.ascontiguousarray(frame[:, ::-1]) if mirror else frame
        faces = stream.update(image, time.monotonic() - start)
        count += 1
        if not show(annotate_tracked(image, faces)):
            break
    return WatchSummary(count, time.monotonic() - start)
