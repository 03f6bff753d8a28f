"""Process that decodes and analyses one uploaded video; see `video_jobs`.

It limits itself before it touches the video, so that a bomb ends this process and nothing else; the decoder opens local files
only, a network is refused where the kernel can, and it dies with the worker that started it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from fer_pipeline.errors import VideoError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import time_constants
from fer_pipeline.inference.video.analysis import VideoOptions, VideoProgress, analyse
from fer_pipeline.inference.video.limits import VideoLimits
from fer_pipeline.serving.sandbox.confinement import NETWORK, die_with, limit, refuse_calls
from fer_pipeline.serving.sandbox.job_files import RESULT_FILES, RESULTS, STATE_FILE, UPLOAD
from fer_pipeline.serving.settings import Limits
from fer_pipeline.workspace.files import write_json

_TELL_SECONDS = 0.25
_RESULT_BYTES = 500_000_000  # of one file


def main(folder: Path, model_folder: Path, owner: int, limits: Limits) -> None:
    """Analyse the video of a job's folder; its state file holds the progress."""
    _confine(limits, owner)
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
    most = VideoLimits(limits.max_video_pixels, limits.max_video_seconds, limits.max_video_frames, limits.max_video_fps)
    options = VideoOptions(smoothing_seconds=smoothing, dwell_seconds=dwell, limits=most)
    try:
        summary = analyse(folder / UPLOAD, Recognizer.load(model_folder), folder / RESULTS, options=options, on_progress=tell)
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


def _confine(limits: Limits, owner: int) -> None:
    die_with(owner)
    refuse_calls(NETWORK)
    os.umask(0o077)
    os.nice(5)  # pictures and cameras first
    limit(
        {
            resource.RLIMIT_AS: 1_000_000 * limits.max_video_memory_megabytes,
            resource.RLIMIT_CPU: 60 * limits.max_video_minutes * (os.cpu_count() or 1),
            resource.RLIMIT_FSIZE: _RESULT_BYTES,
            resource.RLIMIT_NOFILE: 256,
            resource.RLIMIT_CORE: 0,
        }
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Limits(**json.loads(sys.argv[4])))
