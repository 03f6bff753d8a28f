"""DVC: data versions, new sources, running stages."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import psutil
import yaml
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from fer_pipeline.errors import FerError, SourceError, WorkspaceBusyError
from fer_pipeline.workspace import git
from fer_pipeline.workspace.files import replaced_folder
from fer_pipeline.workspace.layout import DVC_CACHE, DVC_LOCK, DVC_STAGES, PARAMS, SOURCE
from fer_pipeline.workspace.parent_process import OWNER_VARIABLE, mark
from fer_pipeline.workspace.stage_log import log_file

logger = logging.getLogger(__name__)

ERROR_FILE_VARIABLE = "FER_ERROR_FILE"
"""Names the file into which a stage command writes its error, for the flow that started it.

JSON: `message`, `exit_code`, and `notes`, which hold the stack trace of an error that no code expects.
"""

_END_SECONDS = 10.0


class Outcome(Enum):
    """How a stage came to be up to date."""

    RAN = "ran"
    RESTORED = "restored from DVC's cache: it had run on the same inputs before"
    UNCHANGED = "nothing it depends on has changed"


def stage_names(root: Path) -> tuple[str, ...]:
    """Return the stages of dvc.yaml, in the order of the file."""
    return tuple(_dvc_yaml(root)["stages"])


def output(root: Path, stage: str) -> Path:
    """Return the first output of a stage in dvc.yaml."""
    return _outputs(root, stage)[0]


def lineage(root: Path, params_hash: str) -> dict[str, str]:
    """Return data version, git commit and hash of the recipe of a model.

    "none" stands for what is not known.
    """
    try:
        version = data_version(root)
    except SourceError:
        version = "none"
    return {"data_version": version, "git_commit": git.commit(root), "params_hash": params_hash}


def add_source(root: Path, paths: list[Path]) -> str:
    """Copy files or one folder into data/source under DVC; return the version (MD5).

    DVC stores names in UTF-8 alone, so others are copied as "caf%E9.jpg", and logged. Raises `SourceError` where a path is
    missing or cannot be copied, or two have one name; what was there before then stays.
    """
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path} does not exist: check the path")
    names = [path.name for path in paths]
    if len(set(names)) != len(names):
        raise SourceError(f"two sources have the same name: {', '.join(names)}; rename one")
    target = root / SOURCE
    for path in paths:
        if target.resolve().is_relative_to(path.resolve()) or path.resolve().is_relative_to(target.resolve()):
            raise SourceError(f"{path} holds or lies in {target}, where sources are kept: give the path that the data comes from")
    with replaced_folder(target) as folder:
        for path in paths:
            _copy(path, folder)
        if renamed := _names_in_utf8(folder):
            counted = "1 name" if len(renamed) == 1 else f"{len(renamed):,} names"
            logger.warning("%s not in UTF-8 copied with %% and two digits, such as %s", counted, renamed[0])
    return track(root, target)


def _copy(path: Path, folder: Path) -> None:
    try:
        if path.is_dir():
            shutil.copytree(path, folder / path.resolve().name)
        else:
            shutil.copy2(path, folder / path.name)
    except shutil.Error as error:
        faults = error.args[0]
        file, _, cause = faults[0]
        if os.strerror(errno.ENOSPC) in cause:
            raise
        raise SourceError(
            f"{len(faults)} of the files in {path} cannot be copied, the first is {file} ({cause}): change its mode or owner, or "
            "move it away"
        ) from error
    except PermissionError as error:
        raise SourceError(f"{error.filename} cannot be copied ({error.strerror}): change its mode or owner") from error


def _names_in_utf8(folder: Path) -> list[str]:
    """Rename what is named outside UTF-8 below `folder`; return the new names."""
    renamed = []
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            readable = re.sub(
                "[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", name
            )  # bytes that Python escaped
            if readable == name:
                continue
            if os.path.lexists(Path(place, readable)):
                raise SourceError(f"two files of {folder.name} would be called {readable!r} in UTF-8: rename one")
            Path(place, name).rename(Path(place, readable))
            renamed.append(readable)
    return renamed


def track(root: Path, path: Path) -> str:
    """Put a file or folder under DVC as it is now; return its version (an MD5).

    Raises `WorkspaceBusyError` where another DVC process holds the repository.
    """
    with _repo(root) as repo:
        try:
            stage = repo.add(str(path))[0]
        except LockError as error:
            raise WorkspaceBusyError(f"{path} is not under DVC yet: {error}; give the command again later") from error
        return str(stage.outs[0].hash_info.value)


def forget(root: Path, hashes: list[str]) -> None:
    """Remove single files, by their MD5, from DVC's local cache.

    Versions that hold them can no longer be checked out as a whole.
    """
    with _repo(root) as repo:
        cache = repo.cache.local
        for one in hashes:
            if cache.exists(one):
                cache.delete(one)


def forget_files(root: Path, is_forgotten: Callable[[Path], bool]) -> None:
    """Remove files for which the function is true from DVC's local cache."""
    with _repo(root) as repo:
        cache = repo.cache.local
        for one in list(cache.all()):
            if is_forgotten(Path(cache.oid_to_path(one))):
                cache.delete(one)


def close_cache(root: Path) -> None:
    """Give DVC's cache to its owner alone (0700).

    One outside of the workspace, or configured to be shared, stays as it is.
    """
    with _repo(root) as repo:
        if Path(repo.cache.local.path).is_relative_to(root / DVC_CACHE) and not repo.config["cache"].get("shared"):
            (root / DVC_CACHE).mkdir(mode=0o700, parents=True, exist_ok=True)
            (root / DVC_CACHE).chmod(0o700)


def data_version(root: Path) -> str:
    """Return the MD5 of the raw table in use, from dvc.lock.

    Raises `SourceError` where fetch has not run on the source of params.yaml.
    """
    lock = root / DVC_LOCK
    stages: dict[str, Any] = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {}) if lock.exists() else {}
    if "fetch" not in stages:
        raise SourceError(f"{lock} knows no fetched data: run `fer run` or `dvc repro fetch` first")
    fetched = stages["fetch"].get("params", {}).get(str(PARAMS), {}).get("fetch", {}).get("source")
    if fetched is not None and fetched != (now := yaml.safe_load((root / PARAMS).read_text("utf-8"))["fetch"]["source"]):
        raise SourceError(f"{now} is not fetched yet, the table is of {fetched}: run `fer run` or `dvc repro fetch` first")
    return str(stages["fetch"]["outs"][0]["md5"])


def reproduce(root: Path, stage: str) -> Outcome:
    """Run one stage as `dvc repro --single-item STAGE` does.

    Raises `FerError` with the stage's own message, exit code and notes where it fails, `WorkspaceBusyError` where another DVC
    process holds the stage. Where it is cut short from outside (Ctrl-C, a time limit, a cancelled run), the stage's command
    ends, too; where this process is killed, a command of `fer` sees that and ends. DVC removes the outputs before a stage runs:
    where it does not end well, those that it has not written come back from DVC's cache, as dvc.lock names them.
    """
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with tempfile.TemporaryDirectory() as scratch:
        error_file = Path(scratch) / "error"
        os.environ.update({ERROR_FILE_VARIABLE: str(error_file), OWNER_VARIABLE: mark()})
        try:
            with _repo(root) as repo:
                return _reproduce(repo, stage)
        except DvcException as error:
            failure = _stage_error(stage, error, error_file)
            if not isinstance(failure, WorkspaceBusyError):
                _restore_missing(root, stage)
            raise failure from error
        except BaseException:  # DVC waits for the command, and leaves it running where the wait is cut short
            _end([process for process in psutil.Process().children(recursive=True) if process.pid not in before])
            _restore_missing(root, stage)
            raise
        finally:
            del os.environ[ERROR_FILE_VARIABLE], os.environ[OWNER_VARIABLE]


def _reproduce(repo: Any, stage: str) -> Outcome:
    restored, restore = [], repo.stage_cache.restore

    def noting(one: Any, **options: Any) -> None:  # DVC tells its log alone whether it ran the command
        restore(one, **options)
        restored.append(one)

    repo.stage_cache.restore = noting
    if not repo.reproduce(targets=[stage], single_item=True):
        return Outcome.UNCHANGED
    return Outcome.RESTORED if restored else Outcome.RAN


def _restore_missing(root: Path, stage: str) -> None:
    missing = [str(out) for out in _outputs(root, stage) if not out.exists()]
    if not missing:  # DVC would take that for all outputs of the repository
        return
    try:
        with _repo(root) as repo:
            repo.checkout(targets=missing, force=True)
    except (DvcException, OSError) as error:
        logger.warning("stage %s: %s not brought back (%s): `dvc checkout` tries again", stage, ", ".join(missing), error)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=_END_SECONDS)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _outputs(root: Path, stage: str) -> list[Path]:
    entries = _dvc_yaml(root)["stages"][stage]["outs"]
    return [root / str(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries]


def _dvc_yaml(root: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = yaml.safe_load((root / DVC_STAGES).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FerError(f"{root} holds no dvc.yaml: run from the root of a clone of fer-pipeline") from error
    return content


def _repo(root: Path) -> Any:
    logging.getLogger("dvc").setLevel(logging.WARNING)  # each stage says itself what it did
    # Stage commands start with `fer`: it is found also where the environment of this Python was not activated.
    scripts = str(Path(sys.executable).parent)
    if scripts not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    try:
        return Repo(str(root))
    except DvcException as error:
        raise FerError(f"{root} is no DVC repository ({error}): run from the root of a clone") from error


def _stage_error(stage: str, error: DvcException, error_file: Path) -> FerError:
    with suppress(FileNotFoundError, ValueError):  # a full disk cuts it short
        said = json.loads(error_file.read_text(encoding="utf-8"))
        failure = FerError(f"stage {stage}: {said['message']}")
        failure.exit_code = int(said["exit_code"])
        for note in said["notes"]:
            failure.add_note(note)
        return failure
    causes = [str(error), *(str(cause) for cause in (error.__cause__, error.__context__) if cause)]
    text = "; ".join(dict.fromkeys(causes))
    killed = re.search(r"exited with -(\d+)", text)
    if killed:
        return FerError(
            f"stage {stage}: its process was killed by signal {killed[1]} (9 is often a lack of memory); earlier outputs are as "
            f"they were, and the same command goes on from there; its libraries wrote {log_file(Path(), stage)}"
        )
    if any(isinstance(cause, LockError) for cause in (error, error.__cause__)) or "is busy, it is being blocked by" in text:
        return WorkspaceBusyError(f"stage {stage}: {text}")
    return FerError(f"stage {stage}: {text}")
