"""Analysis of the video in a job's folder, by the confined process `video_worker`."""

from __future__ import annotations

import json
import time
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import av
from PIL import Image

from fer_pipeline.errors import VideoError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import time_constants
from fer_pipeline.inference.video.analysis import VideoOptions, VideoProgress, analyse
from fer_pipeline.inference.video.limits import VideoLimits
from fer_pipeline.inference.video.report import write_report
from fer_pipeline.inference.video.summary import VideoSummary
from fer_pipeline.inference.video.table import write_table
from fer_pipeline.reports.page import load_templates
from fer_pipeline.serving.sandbox.job_files import RESULT_FILES, RESULTS, STATE_FILE, UPLOAD
from fer_pipeline.workspace.files import write_json

_TELL_SECONDS = 0.25
_UNUSED = ("av.__main__", "av.datasets")  # a command, and downloads of samples


def load(model_folder: Path, detector: str | None) -> Recognizer:
    """Load the model, and all that the analysis imports or reads at its first use.

    `detector` None: the one of the model's image spec.
    """
    for module in walk_packages(av.__path__, "av."):
        if module.name not in _UNUSED:
            import_module(module.name)
    import_module("pyarrow.fs")
    Image.preinit()  # the faces at their peaks are JPEG files
    load_templates()
    return Recognizer.load(model_folder, detector)


def analyse_job(folder: Path, recognizer: Recognizer, limits: dict[str, int]) -> None:
    """Analyse the upload in a job's folder; the state file holds the progress.

    `limits` are the values of `settings.Limits`.
    """
    state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text())  # what else was noted when it came stays
    state.update(state="running", progress=0.0, frames=0, faces=0, error=None, files=[])
    told = 0.0

    def tell(progress: VideoProgress) -> None:
        nonlocal told
        state.update(progress=progress.fraction, frames=progress.frames, faces=progress.faces)
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            write_json(folder / STATE_FILE, state)

    write_json(folder / STATE_FILE, state)
    smoothing, dwell = time_constants(state["temporal"])
    most = VideoLimits(
        limits["max_video_pixels"], limits["max_video_seconds"], limits["max_video_frames"], limits["max_video_fps"]
    )
    options = VideoOptions(smoothing_seconds=smoothing, dwell_seconds=dwell, limits=most)
    try:
        summary = analyse(folder / UPLOAD, recognizer, folder / RESULTS, options=options, on_progress=tell, finish=_finish)
    except VideoError as error:
        state.update(state="failed", error={"code": "undecodable_video", "message": str(error)})
    except MemoryError:
        state.update(state="failed", error={"code": "undecodable_video", "message": "the video needs too much memory"})
    else:
        state.update(state="done", progress=1.0, frames=summary.frames, faces=summary.faces)
        state["files"] = [name for name in RESULT_FILES if (folder / RESULTS / name).is_file()]
        state["summary"] = {
            "seconds": summary.seconds,
            "width": summary.info.width,
            "height": summary.info.height,
            "notes": list(summary.notes),
            "people": [{"track": p.track, "first": p.first, "last": p.last, "seconds": p.seconds} for p in summary.people],
        }
    (folder / UPLOAD).unlink()
    write_json(folder / STATE_FILE, state)


def _finish(folder: Path, summary: VideoSummary) -> None:
    write_table(folder)
    write_report(folder, summary)
