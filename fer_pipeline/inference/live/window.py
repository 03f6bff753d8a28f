"""A window of Tk: opencv-python-headless has none.

Tk comes with Python, or with the system's package python3-tk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.imaging import UInt8Array, shrink

_INSTEAD = "the page of `fer serve` has a live camera, too"


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
