"""Live camera in a window: frames of OpenCV, a window of Tk.

opencv-python-headless has no windows; Tk comes with Python, or with the system's package python3-tk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.imaging import UInt8Array, shrink
from fer_pipeline.inference.drawing import annotate_tracked
from fer_pipeline.inference.stream import FaceStream

_INSTEAD = "the page of `fer serve` has a live camera, too"


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


class Window:
    """A window of Tk that shows pictures; closed by its button, q or Escape."""

    def __init__(self, title: str, longest_side: int = 1280) -> None:
        """Open the window; larger pictures are shrunk to `longest_side`.

        Raises `ToolUnavailableError` where Tk or a display is missing.
        """
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise ToolUnavailableError(f"a window needs Tk ({error}): install python3-tk; {_INSTEAD}") from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise ToolUnavailableError(f"no window can be opened ({error}): {_INSTEAD}") from error
        self._photo_of: Callable[[Image.Image], Any] = ImageTk.PhotoImage
        self._longest_side = longest_side
        self._closed = False
        self._root.title(title)
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._root.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("q", "<Escape>"):
            self._root.bind(key, self._close)

    def show(self, image: UInt8Array) -> bool:
        """Show an RGB image; return whether the window is open still."""
        self._photo = self._photo_of(Image.fromarray(shrink(image, self._longest_side)))  # Tk keeps no reference
        self._label.configure(image=self._photo)
        self._root.update()
        return not self._closed

    def close(self) -> None:
        """Close the window."""
        self._root.destroy()

    def _close(self, *_: object) -> None:
        self._closed = True


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
