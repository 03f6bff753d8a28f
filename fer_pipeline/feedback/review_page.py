"""Keep the review page of an inbox no longer than the corrections that it shows.

The page lies in the folder of the corrections, for its owner alone. So each way of deletion finds it: a service in a container
may write to no other folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fer_pipeline.workspace.files import tidy

ITEMS_FILE: Final = "review.json"
"""What is known of each correction on the page, its id included."""


class ReviewPage:
    """The folder of the page; it need not exist."""

    def __init__(self, inbox: Path) -> None:
        self.folder = inbox / "review"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the page's lock, waiting for whoever writes or removes the page.

        The kernel frees the lock if the process dies.
        """
        with (self.folder.parent / "review.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def drop_stale(self, is_kept: Callable[[str], bool]) -> None:
        """Remove the page where it shows a correction that is not kept.

        The lock must be held. Also removed is what a killed writer left beside the page. Raises `OSError`.
        """
        tidy(self.folder)
        if not self.folder.exists() or all(is_kept(receipt) for receipt in self._receipts()):
            return
        aside = self.folder.with_name(f".{self.folder.name}.old-{os.getpid()}-{secrets.token_hex(6)}")
        os.replace(self.folder, aside)  # gone at once; were this process killed now, `tidy` of the next would remove the rest
        shutil.rmtree(aside)

    def _receipts(self) -> list[str]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return [str(item["id"]) for item in json.loads((self.folder / ITEMS_FILE).read_text())["items"]]
        return [""]  # a page that does not tell what it shows is not kept
