"""Analysis of uploaded videos, each in a private folder and a limited process.

Several workers of a service share the root folder, so each of them finds every job. A thread of the worker that took the video
supervises it to the end of its keeping: it waits for a slot, starts and watches the process, and removes the folder.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any

from fer_pipeline.inference.smoothing import DEFAULT_TEMPORAL, TemporalMode
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.http.places import share_of
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.sandbox import landlock
from fer_pipeline.serving.sandbox.job_files import (
    CANCEL,
    LOG,
    MODEL,
    RESULT_FILES,
    RESULTS,
    UNFINISHED,
    UPLOAD,
    is_alive,
    is_id,
    is_of,
    note_sender,
    read_state,
    write_state,
)
from fer_pipeline.serving.sandbox.video_worker import start_worker
from fer_pipeline.serving.settings import Limits
from fer_pipeline.workspace.files import private_folder

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.2
_RETRY_SECONDS = 60  # about the time of a video, after which there may be a place


class VideoJobs:
    """The videos of one service; `close` stops and removes those of this worker.

    `model` is the model of the videos that come from now on; None for what lies in the model's folder when their turn comes.
    """

    def __init__(self, root: Path, model_folder: Path, limits: Limits) -> None:
        """`root` need not exist; what processes that are gone have left in it is removed."""
        self._root = root
        self._model_folder = model_folder
        self._limits = limits
        self._closing = Event()
        self._threads: list[Thread] = []
        self.model: LoadedModel | None = None
        if landlock.version() < 2 and os.getuid() != 0:
            logger.warning("this kernel has no Landlock: a video that breaks into its process can read the files of this user")
        for folder in self._folders():
            if not is_alive(folder):
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def receiving(self, client: str = "") -> Iterator[Path]:
        """Make a private folder for a video; remove it where the block fails.

        `client` is the address that sends it. Raises `RefusedError` where too many are unfinished or kept, of all or of this
        address, or the disk is too full.
        """
        with self._locked():
            folders = list(self._folders())
            unfinished = [folder for folder in folders if read_state(folder).get("state", "queued") in UNFINISHED]
            most = self._limits.max_videos + self._limits.max_videos_waiting
            if len(unfinished) >= most:
                raise RefusedError(429, "overloaded", "too many videos at once; try again when one is done", _RETRY_SECONDS)
            if len(folders) >= self._limits.max_video_results:
                raise RefusedError(429, "too_many_results", "too many results are kept; delete one, or try later", _RETRY_SECONDS)
            self._check_share(client, unfinished, most, "received or analysed")
            self._check_share(client, folders, self._limits.max_video_results, "kept")
            if shutil.disk_usage(self._root).free < 3_000_000 * self._limits.max_video_megabytes:
                raise RefusedError(429, "disk_full", "there is no room for a video; try again later", _RETRY_SECONDS)
            folder = self._root / secrets.token_hex(16)
            folder.mkdir(mode=0o700)
            note_sender(folder, client)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def start(self, folder: Path, loaded: LoadedModel | None, temporal: TemporalMode = DEFAULT_TEMPORAL, **metadata: Any) -> str:
        """Start the analysis of the video in a folder of `receiving`; its job id.

        `metadata` stays in its state. `temporal` is how the emotions of a face are joined over time.
        """
        write_state(folder, state="queued", temporal=temporal, **metadata)
        thread = Thread(target=self._supervise, args=(folder, loaded), name=f"video {folder.name}", daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()
        return folder.name

    def state(self, job: str) -> dict[str, Any]:
        """Return the state of a job of any worker.

        Raises `RefusedError` where there is none of this id.
        """
        folder = self._folder(job)
        state = read_state(folder)
        if not state:
            raise _unknown(job)
        if state["state"] in UNFINISHED and not is_alive(folder):
            return {**state, "state": "failed", "error": {"code": "lost", "message": "its worker ended; send the video again"}}
        return state

    def file(self, job: str, name: str) -> Path:
        """A result file. Raises `RefusedError` where it is not there (yet)."""
        path = self._folder(job) / RESULTS / name
        if name not in RESULT_FILES or self.state(job)["state"] != "done" or path.is_symlink() or not path.is_file():
            raise RefusedError(404, "file_not_found", f"job {job} has no file {name[:40]!r}; its state names those that it has")
        return path

    def delete(self, job: str) -> None:
        """End a job of any worker and remove all of it; returns when it is gone.

        Raises `RefusedError` for an unknown id.
        """
        folder = self._folder(job)
        with suppress(FileNotFoundError):
            (folder / CANCEL).touch()
        end = time.monotonic() + 10
        while folder.exists() and is_alive(folder) and time.monotonic() < end:
            time.sleep(_TICK_SECONDS / 4)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """End and remove the jobs of this worker.

        The root goes, too, where no other worker has jobs in it.
        """
        self._closing.set()
        for thread in self._threads:
            thread.join()
        if not any(self._folders()):
            shutil.rmtree(self._root, ignore_errors=True)

    def _check_share(self, client: str, folders: list[Path], most: int, words: str) -> None:
        share = share_of(most, self._limits.client_share_percent)
        if sum(is_of(folder, client) for folder in folders) >= share:
            message = f"{share} video(s) of your address are {words}, which is its share; delete one, or try later"
            raise RefusedError(429, "share_taken", message, _RETRY_SECONDS)

    def _folders(self) -> Iterator[Path]:
        if self._root.is_dir():
            yield from (path for path in self._root.iterdir() if is_id(path.name))

    def _folder(self, job: str) -> Path:
        folder = self._root / job
        if not is_id(job) or not folder.is_dir() or (folder / CANCEL).exists():
            raise _unknown(job)
        return folder

    @contextmanager
    def _locked(self) -> Iterator[None]:
        private_folder(self._root)
        with (self._root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _supervise(self, folder: Path, model: LoadedModel | None) -> None:
        try:
            self._run(folder, model)
            end = time.monotonic() + 60 * self._limits.keep_video_minutes
            while time.monotonic() < end and not self._is_unwanted(folder):
                time.sleep(_TICK_SECONDS)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, folder: Path, model: LoadedModel | None) -> None:
        slot = self._slot(folder)
        if slot is None:
            return
        with slot:
            fault = self._analyse(folder, model)
        (folder / UPLOAD).unlink(missing_ok=True)
        shutil.rmtree(folder / MODEL, ignore_errors=True)
        state = read_state(folder)
        if fault is not None:
            write_state(folder, **{**state, "state": "failed", "error": {"code": fault[0], "message": fault[1]}})
        metrics.VIDEOS.labels(fault[0] if fault else (state.get("error") or {}).get("code", "done")).inc()

    def _slot(self, folder: Path) -> IO[str] | None:
        # A lock on a file is shared by all workers, and is free again when its holder dies.
        while not self._is_unwanted(folder):
            for number in range(self._limits.max_videos):
                file = (self._root / f"slot{number}").open("w")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                else:
                    return file
            time.sleep(_TICK_SECONDS)
        return None

    def _analyse(self, folder: Path, model: LoadedModel | None) -> tuple[str, str] | None:
        model_folder = self._model_folder.resolve()
        if model is not None:
            model_folder = folder / MODEL
            try:
                model_folder.mkdir()
                model.files.write(model_folder)
            except OSError as error:
                return "disk_full", f"there is no room for the video's model ({error.strerror}); try again later"
        detector = model.files.detector if model is not None else ""
        end = time.monotonic() + 60 * self._limits.max_video_minutes
        with (folder / LOG).open("wb") as log:
            process = start_worker(folder, model_folder, self._limits.model_dump_json(), detector, log)
            try:
                while process.poll() is None:
                    if self._is_unwanted(folder):
                        return "cancelled", "cancelled"
                    if time.monotonic() > end:
                        return "too_slow", f"analysis took more than {self._limits.max_video_minutes} min; send a shorter video"
                    time.sleep(_TICK_SECONDS)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if read_state(folder).get("state") in UNFINISHED:
            return (
                "undecodable_video",
                f"the video broke its decoder, or needs too much memory (exit status {process.returncode})",
            )
        return None

    def _is_unwanted(self, folder: Path) -> bool:
        return self._closing.is_set() or (folder / CANCEL).exists()


def _unknown(job: str) -> RefusedError:
    return RefusedError(404, "video_not_found", f"there is no job {job[:40]!r}; results are deleted after some time")
