"""Progress bar of a training run on stderr; one line per epoch without a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class EpochProgress:
    """Show the steps of the whole run and the time left; `callback` advances it."""

    def __init__(self, epochs: int, steps: int, done: int) -> None:
        self._console = Console(stderr=True, markup=False, emoji=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._epochs = epochs
        self._task = self._progress.add_task(f"epoch {done + 1}/{epochs}", total=epochs * steps, completed=done * steps)
        self.callback: keras.callbacks.Callback = _Steps(self._progress, self._task)

    def __enter__(self) -> EpochProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def message(self, message: str) -> None:
        """Print one line above the bar."""
        self._console.print(message, highlight=False, soft_wrap=True)

    def epoch_done(self, figures: dict[str, float]) -> None:
        """Print the metrics of an epoch."""
        epoch = int(figures["epoch"])
        self._progress.update(self._task, description=f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}")
        self.message(
            f"epoch {epoch:3d}/{self._epochs}  loss {figures['loss']:.3f}  validation: loss {figures['val_loss']:.3f}  "
            f"accuracy {figures['val_accuracy']:.3f}  macro-F1 {figures['val_macro_f1']:.3f}  "
            f"({figures['size']:.0f} px, lr {figures['lr']:.3g}, {figures['seconds']:.1f} s)"
        )


class _Steps(keras.callbacks.Callback):
    async_safe = True  # it reads no figures, so Keras need not wait for the device after each step

    def __init__(self, progress: Progress, task: Any) -> None:
        super().__init__()
        self._progress = progress
        self._task = task

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.advance(self._task)
