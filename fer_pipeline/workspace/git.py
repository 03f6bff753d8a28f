"""Ask git for the state of a workspace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fer_pipeline.workspace.layout import DATA, DVC_LOCK, DVC_STAGES, PARAMS, PROFILES, SYNTHETIC


def commit(root: Path) -> str:
    """Return the hash of the current commit; "none" without git.

    It ends with "-dirty" where tracked code differs from the commit.
    """
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return "none"
    if head.returncode:
        return "none"
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", "*.py", str(DVC_STAGES)], cwd=root, capture_output=True, check=False
    )
    return head.stdout.strip() + ("-dirty" if changed.returncode else "")


def refuses(root: Path) -> bool:
    """Return whether git refuses `root` since its .git has another owner."""
    environment = {**os.environ, "LC_ALL": "C"}
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, env=environment, capture_output=True, text=True, check=False)
    return head.returncode != 0 and "dubious ownership" in head.stderr


def commit_advice(root: Path) -> str | None:
    """Return the line that commits what makes the last run reproducible.

    That is dvc.lock, params.yaml, profiles.yaml, the number of synthetic faces and the versions of data under DVC. None where
    nothing of it differs from the commit, or there is no git here.
    """
    known = [DVC_LOCK, PARAMS, PROFILES, SYNTHETIC, *sorted(path.relative_to(root) for path in (root / DATA).glob("*.dvc"))]
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--", *map(str, known)]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return None
    changed = [str(path) for path in known if any(line[3:].endswith(str(path)) for line in done.stdout.splitlines())]
    return f'git add {" ".join(changed)} && git commit -m "Recipe and data of the last run"' if changed else None
