"""Fetch packages of npm at a pinned version and hash."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.errors import ModelError, ToolUnavailableError

_SECONDS = 300


@dataclass(frozen=True)
class NpmPackage:
    """A package at a version; `integrity` is the hash that the npm registry gives it."""

    name: str
    version: str
    integrity: str
    archive: Path | None = None

    def fetch(self, folder: Path) -> NpmPackage:
        """Download the package into an empty folder; return it with its archive.

        Raises `ToolUnavailableError` where npm or the registry does not answer, `ModelError` where another package comes than
        the pinned one.
        """
        npm = shutil.which("npm")
        if npm is None:
            raise ToolUnavailableError(f"npm is not installed: it is needed to fetch {self.name}, e.g. `apt-get install npm`")
        which = f"{self.name}@{self.version}"
        command = [npm, "pack", which, "--silent", "--pack-destination", str(folder)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise ToolUnavailableError(f"`npm pack {which}` did not end within {_SECONDS} s: try again") from error
        found = list(folder.glob("*.tgz"))
        if done.returncode != 0 or len(found) != 1:
            raise ToolUnavailableError(f"`npm pack {which}` failed: {done.stderr.strip()[-500:]}")
        digest = base64.b64encode(hashlib.sha512(found[0].read_bytes()).digest()).decode()
        if f"sha512-{digest}" != self.integrity:
            raise ModelError(f"npm sent {which} with sha512-{digest}, pinned is {self.integrity}: nothing was stored")
        return NpmPackage(self.name, self.version, self.integrity, found[0])

    def read(self, path: str) -> bytes:
        """Return a file of the fetched package. Raises `ModelError` where it has none."""
        if self.archive is None:
            raise ModelError(f"{self.name} {self.version} is not fetched: nothing can be read")
        with tarfile.open(self.archive) as archive:
            try:
                stream = archive.extractfile(f"package/{path}")
            except KeyError:
                stream = None
            if stream is None:
                raise ModelError(f"{self.name} {self.version} has no {path}: its files have other names now")
            return stream.read()
