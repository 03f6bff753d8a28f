"""Process that decodes and analyses one uploaded video; see `video_jobs`.

It confines itself before it opens the video, so that a bomb ends this process and nothing else, and what breaks into the decoder
finds little: no network, no other process, of all files only the libraries, the model and the job's folder, and no root. It dies
with the worker that started it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.serving.sandbox import landlock, seccomp
from fer_pipeline.serving.sandbox.confinement import die_with, enclose, leave_root, limit
from fer_pipeline.serving.sandbox.system_calls import NETWORK, OTHER_PROCESSES, SYSTEM, signal_itself

_RESULT_BYTES = 500_000_000  # of one file
_PACKAGE = Path(__file__).resolve().parents[2]
_SYSTEM_FILES = (
    "/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/sys/devices/system/cpu",
    "/dev/null", "/dev/urandom",
)  # fmt: skip


def main(folder: Path, model_folder: Path, owner: int, limits: dict[str, int], detector: str | None) -> None:
    """Analyse the video of a job's folder; its state file holds the progress.

    `limits` are the values of `settings.Limits`. `detector` None: the one of the model's image spec.
    """
    die_with(owner)
    os.umask(0o077)
    os.nice(5)  # pictures and cameras first
    _limit(limits)
    # What these files import starts threads, which Landlock must precede.
    landlock.restrict(readable=(*_library_folders(), *map(Path, _SYSTEM_FILES), model_folder), writable=(folder,))
    from fer_pipeline.serving.sandbox.video_analysis import analyse_job, load

    recognizer = load(model_folder, detector)
    folder = enclose(folder)
    leave_root()
    die_with(owner)
    seccomp.refuse((*NETWORK, *OTHER_PROCESSES, *SYSTEM, signal_itself(os.getpid())._replace(equal=False)))
    analyse_job(folder, recognizer, limits)


def start_worker(folder: Path, model_folder: Path, limits: str, detector: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process that analyses the video of a job.

    `limits` is the JSON of `settings.Limits`, `detector` may be empty.
    """
    arguments = [str(folder), str(model_folder), str(os.getpid()), limits, detector]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(_PACKAGE.parent), "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, *arguments],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _library_folders() -> set[Path]:
    numpy = find_spec("numpy")
    if numpy is None or numpy.origin is None:
        raise ToolUnavailableError("numpy is not installed: install fer-pipeline with what it needs")
    packages = Path(numpy.origin).parents[1]
    # The folder of this package may hold data besides, as the root of a repository does.
    listed = {Path(entry).resolve() for entry in sys.path if entry} - set(_PACKAGE.parents)
    return {_PACKAGE, packages, Path(sys.prefix), Path(sys.base_prefix), *listed}


def _limit(limits: dict[str, int]) -> None:
    limit(
        {
            resource.RLIMIT_AS: 1_000_000 * limits["max_video_memory_megabytes"],
            resource.RLIMIT_CPU: 60 * limits["max_video_minutes"] * (os.cpu_count() or 1),
            resource.RLIMIT_FSIZE: _RESULT_BYTES,
            resource.RLIMIT_NOFILE: 256,
            resource.RLIMIT_CORE: 0,
        }
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]), sys.argv[5] or None)
