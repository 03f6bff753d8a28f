"""Store corrections of predictions in a folder, one file each.

The service writes the folder, the `fer feedback` commands read it. Files are created, moved and removed atomically, so that any
number of processes can share the folder. The image of a correction is stored only in its file.

    pending/<id>.json     waits for review, until it expires
    accepted/<id>.json    the image became training data; kept without the image, so that the receipt stays valid
    withdrawn/<id>.json   accepted, then withdrawn by the person; `fer feedback purge` removes the image from the data
    key                   the key with which the service signs its tokens
    review/               the page of `fer feedback review`; removed with the first correction that it shows
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from fer_pipeline.errors import FeedbackError, ToolUnavailableError
from fer_pipeline.feedback.review_page import ReviewPage
from fer_pipeline.labels import EMOTIONS

INBOX_VARIABLE: Final = "FER_FEEDBACK"

State = Literal["pending", "accepted", "withdrawn"]
STATES: Final[tuple[State, ...]] = ("pending", "accepted", "withdrawn")

_SUFFIX, _ASIDE = ".json", ".new"
_STALE_SECONDS = 3600  # after which an unfinished file belongs to a process that was killed
_DAMAGED = timedelta(days=30)  # after its last change, a file that does not say when it expires is deleted


@dataclass(frozen=True)
class Correction:
    """A person's correction of one prediction.

    `id`, 32 hex digits, is the person's receipt. `time` and `expires` are timezone-aware. `answered` is the predicted label or
    "uncertain", `confidence` in 0..1 the probability of the most probable label, `version` the fingerprint of the model of that
    `network`; `corrected` is the person's label. `sender` is equal for corrections of one address on one day and holds no other
    information. With the person's consent `picture` is the face, a PNG of 48x48 gray pixels, and `size` the side in pixels of
    the face in the image that was sent; else both are None. The names are those of the stored JSON.
    """

    id: str
    time: datetime
    expires: datetime
    network: str
    version: str
    answered: str
    confidence: float
    corrected: str
    sender: str
    picture: bytes | None = None
    size: float | None = None

    def __post_init__(self) -> None:
        if not is_receipt(self.id) or self.time.tzinfo is None or self.expires.tzinfo is None or self.corrected not in EMOTIONS:
            raise ValueError(f"id {self.id!r}, times {self.time} and {self.expires}, label {self.corrected!r} do not fit")


class Corrections:
    """A folder of corrections; it is created when the first one is written."""

    def __init__(self, folder: Path) -> None:
        """Raises `ToolUnavailableError` where the folder belongs to another user."""
        self.folder = folder
        self.page = ReviewPage(folder)
        owner = folder.stat().st_uid if folder.exists() else os.getuid()
        if owner != os.getuid():  # who could then not delete what this user writes
            raise ToolUnavailableError(f"{folder} belongs to user {owner}, this is user {os.getuid()}: act as the owner")

    def key(self) -> bytes:
        """Return the signing key, 32 random bytes created at the first call.

        Raises `ToolUnavailableError` where the folder cannot be written.
        """
        file = self.folder / "key"
        if not file.exists():
            self._create(file, secrets.token_bytes(32))
        return file.read_bytes()

    def put(self, correction: Correction) -> bool:
        """Add a pending correction; return false where its id exists already.

        Raises `ToolUnavailableError` where the folder cannot be written.
        """
        if self.knows(correction.id):
            return False
        return self._create(self._file("pending", correction.id), _encoded(correction))

    def count(self, state: State) -> int:
        """Count the corrections of a state."""
        return sum(1 for _ in self._files(state))

    def knows(self, receipt: str) -> bool:
        """Return whether a correction with this receipt exists, in any state."""
        return is_receipt(receipt) and any(self._file(state, receipt).exists() for state in STATES)

    def read(self, state: State) -> tuple[list[Correction], list[str]]:
        """Read the corrections of a state, oldest first, and unreadable file names."""
        found, damaged = [], []
        for file in self._files(state):
            try:
                found.append(_decoded(file.read_bytes()))
            except FileNotFoundError:  # another process moved it
                continue
            except (OSError, ValueError, KeyError, TypeError):
                damaged.append(file.relative_to(self.folder).as_posix())
        return sorted(found, key=lambda correction: (correction.time, correction.id)), sorted(damaged)

    def accept(self, correction: Correction) -> None:
        """Move a correction from pending to accepted, without its image.

        One that was deleted meanwhile becomes withdrawn.
        """
        self._create(self._file("accepted", correction.id), _encoded(replace(correction, picture=None)))
        if not _unlinked(self._file("pending", correction.id)):
            self._withdraw(correction.id)

    def delete(self, receipt: str) -> Literal["deleted", "withdrawn", "unknown"]:
        """Delete a pending correction, or mark an accepted one as withdrawn.

        The image of a withdrawn one is in the training data until `fer feedback purge` removes it.
        """
        if not is_receipt(receipt):
            return "unknown"
        deleted = _unlinked(self._file("pending", receipt))
        self._withdraw(receipt)
        self.drop_stale_page()
        return "withdrawn" if self._file("withdrawn", receipt).exists() else "deleted" if deleted else "unknown"

    def forget(self, receipt: str) -> None:
        """Remove the files of an id in all states, after its image was removed everywhere."""
        for state in STATES:
            self._file(state, receipt).unlink(missing_ok=True)
        self.drop_stale_page()

    def expire(self, now: datetime) -> int:
        """Delete expired pending corrections, and return their number."""
        for aside in self.folder.glob(f"*/.*{_ASIDE}"):
            with suppress(FileNotFoundError):
                if time.time() - aside.stat().st_mtime > _STALE_SECONDS:
                    aside.unlink()
        expired = 0
        for file in self._files("pending"):
            with suppress(FileNotFoundError):
                if _expiry(file) <= now:
                    file.unlink()
                    expired += 1
        self.drop_stale_page()
        return expired

    def drop_stale_page(self) -> None:
        """Remove the review page where a correction on it was deleted or withdrawn."""
        if self.folder.exists():
            with self.page.locked():
                self.page.drop_stale(self._is_kept)

    def write_page(self, write: Callable[[Path], object]) -> bool:
        """Have `write` fill the folder of the review page.

        Returns false where a correction on it was deleted meanwhile; the page is removed again then.
        """
        with self.page.locked():
            write(self.page.folder)
            self.page.drop_stale(self._is_kept)
        return self.page.folder.exists()

    def _is_kept(self, receipt: str) -> bool:
        kept: tuple[State, ...] = ("pending", "accepted")
        return is_receipt(receipt) and any(self._file(state, receipt).exists() for state in kept)

    def _withdraw(self, receipt: str) -> None:
        accepted, withdrawn = self._file("accepted", receipt), self._file("withdrawn", receipt)
        if accepted.exists():
            withdrawn.parent.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # another process was faster
                os.replace(accepted, withdrawn)

    def _files(self, state: State) -> Iterator[Path]:
        return (self.folder / state).glob(f"[!.]*{_SUFFIX}")

    def _file(self, state: State, receipt: str) -> Path:
        if not is_receipt(receipt):
            raise FeedbackError(f"{receipt!r} is not a receipt, expected 32 hex digits")
        return self.folder / state / f"{receipt}{_SUFFIX}"

    def _create(self, target: Path, content: bytes) -> bool:
        """Create a file atomically, for its owner only; return false where it exists."""
        aside = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_ASIDE}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if target.parent != self.folder and target.parent.stat().st_mode & 0o077:  # of a copy, made without its mode
                target.parent.chmod(0o700)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(content)
            try:
                os.link(aside, target)
            except FileExistsError:
                return False
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise ToolUnavailableError(
                f"{target.parent} cannot be written ({error.strerror}): free space, change its owner, or name another folder"
            ) from error
        return True


def is_receipt(text: str) -> bool:
    """Return whether a text has the form of an id; only ids become file names."""
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text)


def _encoded(correction: Correction) -> bytes:
    values = asdict(correction)
    values["time"], values["expires"] = correction.time.isoformat(), correction.expires.isoformat()
    values["picture"] = None if correction.picture is None else base64.b64encode(correction.picture).decode()
    return json.dumps(values).encode()


def _decoded(content: bytes) -> Correction:
    values = json.loads(content)
    values["time"], values["expires"] = (datetime.fromisoformat(values[name]) for name in ("time", "expires"))
    values["picture"] = None if values["picture"] is None else base64.b64decode(values["picture"], validate=True)
    return Correction(**values)


def _expiry(file: Path) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(file.read_bytes())["expires"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError):
        return datetime.fromtimestamp(file.stat().st_mtime, UTC) + _DAMAGED


def _unlinked(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
