"""Ask git for the state of a workspace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fer_pipeline.workspace.layout import DVC_STAGES


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
